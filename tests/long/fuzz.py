"""Give the loaders bundles, checkpoints and caches that were damaged at random or forged.

    python tests/long/fuzz.py [INPUTS, default 100,000]

Every input must load, or raise ValueError (a cache: be built again); none may crash, hang or take much memory."""
import hashlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

HOSTILE = [None, True, False, -1, 0, 1, 3, 10**6, 10**9, 2**63, 10**400, 1.5, -0., float('inf'), float('nan'), '', 'x', '../../etc/passwd', '\x00', '\ud800', [], [[]], {}, {'a':1}, 'fwd', 'lm', 'classifier', 'object', 'uint16',
           'float64', [10**9]*4, 'F64', 'BF16', '__metadata__', 'I8', 'U8', 'BOOL', 'I64', 'F16', 'F32', 'F8_E4M3', 'C64', [0], [2**40, 0], [50]*65, [50]*20000, 'a'*10**5, ['a']*10**4, 'DEEP',
           {'dict':[[i*(2**61-1), 0] for i in range(2000)]}, {'dict':[[2**31, 0], [True, 0]]}, {'tensor':'t0'}, {'float64':'t0'}, {'tuple':[{'dict':[]}]}, {'dict':[['hypers', [{}]]]}]
WORST_SECONDS, WORST_MB = 5., 64


def mutate_bytes(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        kind = rng.randrange(5)
        if not data: break
        at = rng.randrange(len(data))
        if kind==0: data[at] = rng.randrange(256)
        elif kind==1: del data[at:]
        elif kind==2: del data[at:at+rng.randrange(1, 9)]
        elif kind==3: data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else: data[:8] = rng.choice([2**63, 2**64-1, 10**8, 0, len(data), 8]).to_bytes(8, 'little')
    return bytes(data)


def mutate_json(o, rng, depth=0):
    "A copy of `o` with something in it replaced, dropped or added"
    if isinstance(o, dict) and o and (depth==0 or rng.random()<.8):
        k = rng.choice(list(o))
        if rng.random()<.1: return {j:v for j, v in o.items() if j!=k}
        if rng.random()<.1: return {**o, str(rng.choice(HOSTILE)):rng.choice(HOSTILE)}
        return {**o, k:mutate_json(o[k], rng, depth+1)}
    if isinstance(o, list) and o and rng.random()<.7:
        i = rng.randrange(len(o))
        return [*o[:i], mutate_json(o[i], rng, depth+1), *o[i+1:]]
    return rng.choice(HOSTILE)


def dumps(o):
    s = json.dumps(o).replace('"DEEP"', '['*30000+']'*30000)
    return s.encode('utf8', 'surrogatepass')


def forge_safetensors(data, rng, inner=None):
    "A file whose header says something else; `inner` is the part of its metadata that is JSON itself"
    n = int.from_bytes(data[:8], 'little')
    head = json.loads(data[8:8+n])
    if inner and rng.random()<.8: head['__metadata__'][inner] = dumps(mutate_json(json.loads(head['__metadata__'][inner]), rng)).decode('utf8', 'replace')
    else: head = mutate_json(head, rng)
    head = dumps(head)
    return len(head).to_bytes(8, 'little')+head+data[8+n:]


class Bundles:
    def __init__(self, tmp):
        from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
        from fastai.text.models.core import get_language_model
        from ulmfit_ext.models.encoder import text_classifier
        from ulmfit_ext.models.bundle import Bundle, load_bundle, model_state, save_bundle
        vocab, arch = ['xxunk', 'xxpad', 'xxbos', 'a', 'b'], dict(emb_sz=4, n_hid=6, n_layers=2)
        self.load, self.dir = load_bundle, tmp/'try'
        lm = Bundle(dict(kind='lm', direction='fwd', arch=arch, tokenizer=None), vocab, model_state(get_language_model(AWD_LSTM, 5, {**awd_lstm_lm_config, **arch})))
        carch = dict(n_out=2, config=arch, seq_len=7, max_len=None, lin_ftrs=[5], y_range=None)
        clas = Bundle(dict(kind='classifier', direction='fwd', arch=carch, task='single', labels=['x', 'y'], tokenizer=None), vocab, model_state(text_classifier(5, **carch)))
        self.whole = [{f.name:f.read_bytes() for f in save_bundle(b, tmp/k).iterdir()} for k, b in (('lm', lm), ('clas', clas))]
        self.dir.mkdir()

    def one(self, rng):
        files = dict(rng.choice(self.whole))
        kind = rng.randrange(4)
        config = json.loads(files['config.json'])
        if kind==0: files[k] = mutate_bytes(files[k := rng.choice(list(files))], rng)
        elif kind==1: files['config.json'] = dumps(mutate_json(config, rng))
        else: # the forger knows what is checked
            if kind==2: files['model.safetensors'] = forge_safetensors(files['model.safetensors'], rng)
            else: files['vocab.json'] = dumps(mutate_json(json.loads(files['vocab.json']), rng))
            if rng.random()<.3: config = mutate_json(config, rng)
            if isinstance(config, dict):
                try: vocab = json.dumps(json.loads(files['vocab.json'])).encode()
                except RecursionError: vocab = b''
                config = {**config, 'sha256':hashlib.sha256(files['model.safetensors']).hexdigest(), 'vocab_hash':hashlib.sha256(vocab).hexdigest()}
            files['config.json'] = dumps(config)
        for k, v in files.items(): (self.dir/k).write_bytes(v)
        b = self.load(self.dir)
        b.model()


class Checkpoints:
    def __init__(self, tmp):
        import torch
        from ulmfit_ext.train.run import pack_random, read_checkpoint, write_checkpoint
        self.load, self.file = read_checkpoint, tmp/'try.safetensors'
        numbers, random = pack_random()
        write_checkpoint(self.file, dict(place=(0, 1), hypers=[dict(lr=.1)], random=numbers), dict(model={'w':torch.randn(3, 4)}, opt={'0.avg':torch.zeros(3)}, random=random))
        self.whole = self.file.read_bytes()

    def one(self, rng):
        self.file.write_bytes(mutate_bytes(self.whole, rng) if rng.random()<.4 else forge_safetensors(self.whole, rng, 'meta'))
        self.load(self.file)


class Caches:
    def __init__(self, tmp):
        from ulmfit_ext.data import corpus as cache
        from ulmfit_ext.data.tokenize import tokenizer_settings
        os.environ['ULMFIT_CACHE'] = str(tmp/'cache')
        cache.tokenized(['a text', 'and another one'], tokenizer_settings())
        self.dir, self.load, self.sum = next((tmp/'cache').iterdir()), cache._load, cache._checksum
        self.whole = {f.name:f.read_bytes() for f in self.dir.iterdir()}

    def one(self, rng):
        files = dict(self.whole)
        k = rng.choice(list(files))
        files[k] = dumps(mutate_json(json.loads(files[k]), rng)) if k.endswith('.json') and rng.random()<.7 else mutate_bytes(files[k], rng)
        for n, v in files.items(): (self.dir/n).write_bytes(v)
        if k!='meta.json':
            meta = json.loads(files['meta.json'])
            meta['checksums'] = {n:self.sum(self.dir/n) for n in meta['checksums']}
            (self.dir/'meta.json').write_bytes(dumps(meta))
        found = self.load(self.dir)
        if found is None: raise ValueError('built again')
        ids, offsets, words = found
        for a, b in zip(offsets, offsets[1:]): [words[i] for i in ids[a:b]]


def fuzz(n, seed=0):
    "Numbers of inputs that loaded and that were refused, for each loader; raises for any other end"
    res = {}
    with tempfile.TemporaryDirectory() as tmp:
        for make, share in ((Bundles, .4), (Checkpoints, .3), (Caches, .3)):
            (folder := Path(tmp)/make.__name__).mkdir()
            target, loaded, refused, slowest = make(folder), 0, 0, 0.
            for i in range(100): # what the first calls take is not the files'
                try: target.one(random.Random(i))
                except ValueError: pass
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for i in range(round(n*share)):
                rng, start = random.Random(f'{seed} {make.__name__} {i}'), time.perf_counter()
                try:
                    target.one(rng)
                    loaded += 1
                except ValueError as e:
                    assert str(e).strip() and '\n' not in str(e)[:200], repr(e)
                    refused += 1
                except Exception as e: raise AssertionError(f'{make.__name__} input {i}, seed {seed}: {type(e).__name__}: {e}') from e
                slowest = max(slowest, time.perf_counter()-start)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before)/1024
            assert slowest<WORST_SECONDS and grown<WORST_MB, (make.__name__, slowest, grown)
            res[make.__name__] = dict(loaded=loaded, refused=refused, slowest_ms=round(slowest*1000, 1), memory_grew_mb=round(grown, 1))
    return res


if __name__=='__main__':
    n = int(sys.argv[1]) if len(sys.argv)>1 else 100_000
    for k, v in fuzz(n).items(): print(k, v)
