"""Short pretraining runs: perplexity on enwiki-valid, and tokens a second

    python benchmarks/pretrain_sweep.py [TOKENS [TRIAL ...]]

The first trials differ from the very first in one thing each, the one with the sampled softmax from the one before it. The last two are a backward model of the size
`mini`, from nothing and from the word embeddings of the forward one that comes with the package. Trials may run side by side."""
import json
import sys
import time
from importlib.resources import files
from common import RESULTS, data, save
from fastai.torch_core import set_seed
from ulmfit_ext.all import *

BASE = dict(emb_sz=256, n_hid=640, bs=32, lr=4e-3, alpha=2., beta=1., drop_mult=1., softmax='full', backwards=False, embeddings=False)
TRIALS = [dict(), dict(lr=8e-3), dict(bs=16), dict(alpha=0., beta=0.), dict(emb_sz=320), dict(n_hid=512), dict(n_hid=512, softmax='sampled'),
          *(dict(n_hid=512, softmax='sampled', backwards=True, embeddings=e) for e in (False, True))]


def trial(corpus, changes):
    s = {**BASE, **changes}
    recipe = get_recipe('paper').replace(pre={k:s[k] for k in ('lr', 'bs', 'alpha', 'beta')})
    set_seed(42)
    start = time.perf_counter()
    embeddings = files('ulmfit_ext')/'pretrained'/'mini'/'fwd' if s['embeddings'] else None
    learn = pretrain_lm(corpus, recipe, s['backwards'], embeddings=embeddings, softmax=s['softmax'], config=dict(emb_sz=s['emb_sz'], n_hid=s['n_hid'], n_layers=3), drop_mult=s['drop_mult'],
                        metrics=TokenPerplexity())
    tokens = int(corpus.lens[corpus.train].sum())
    seconds = time.perf_counter()-start
    return dict(what=str(changes), **s, tokens=tokens, perplexity=float(learn.recorder.values[-1][-1]), tokens_per_s=tokens/seconds)


if __name__=='__main__':
    tokens = int(float(sys.argv[1])) if len(sys.argv)>1 else 1_200_000
    corpus = TextCorpus.from_files([data()/f'enwiki-train-{i}.jsonl.xz' for i in range(4)], valid=data()/'enwiki-valid.jsonl.xz', max_vocab=16000, max_tokens=tokens)
    corpus.valid = corpus.valid[:40]
    old = RESULTS/'pretrain_sweep.json' # trials of earlier calls stay
    for o in [TRIALS[int(i)] for i in sys.argv[2:]] or TRIALS:
        row = trial(corpus, o)
        rows = json.loads(old.read_text())['rows'] if old.exists() else []
        rows = [r for r in rows if (r['what'], r['tokens'])!=(row['what'], row['tokens'])]+[row]
        save('pretrain_sweep', rows)
