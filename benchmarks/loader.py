"Language-model batches from ids in memory (stock) and on disk (ours), and the first batch of a large corpus"
import tempfile
import time
from pathlib import Path
import numpy as np
from common import main, pair, save


def corpus(n_tokens, folder):
    "A corpus of random ids, memory-mapped, in documents of about 3,400 tokens as in Wikipedia"
    from ulmfit_ext.data.corpus import TextCorpus
    rng, words = np.random.default_rng(0), [f'w{i}' for i in range(60000)]
    lens = rng.integers(100, 6700, n_tokens//3400)
    offsets = np.r_[0, np.cumsum(lens)]
    with open(Path(folder)/'ids.bin', 'wb') as f:
        for n in lens: f.write(rng.integers(0, 60000, n, dtype=np.uint16))
    def build():
        raw = np.memmap(Path(folder)/'ids.bin', dtype=np.uint16, mode='r')
        n = len(lens)
        return TextCorpus('', raw, offsets, words, words, dict(kind='spacy', lang='en', rules=[]), range(n-20), range(n-20, n), [])
    return build


def one(which, n_tokens):
    import torch
    from fastai.text.data import LMDataLoader
    import ulmfit_ext.data.loaders
    with tempfile.TemporaryDirectory() as tmp:
        build = corpus(int(n_tokens), tmp)
        if which=='ours':
            start = time.perf_counter()
            dl = build().lm_dls(64, 70).train
            dl.one_batch()
            first = time.perf_counter()-start
        else:
            c = build()
            docs = [(torch.from_numpy(c[i]),) for i in c.train]
            start = time.perf_counter()
            dl = LMDataLoader(docs, lens=[len(d[0]) for d in docs], bs=64, seq_len=70, shuffle=True, num_workers=0)
            dl.one_batch()
            first = time.perf_counter()-start
        start = time.perf_counter()
        n = sum(x.numel() for x, y in dl)
        return dict(rate=n/(time.perf_counter()-start), first=first)


def all_():
    r = pair(__file__, 5_000_000)
    big = one('ours', 89_000_000)
    save('loader', [dict(what='LM loader, 5M tokens', unit='tokens/s', **r['rate']),
                    dict(what='first batch of 89M tokens', unit='s', ours=big['first'])])


if __name__=='__main__': main(one, all_)
