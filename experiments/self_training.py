"""Which student is best? Forward, from a pair with TF-IDF as teacher; error on 1,000 training documents that were not drawn, never on a test split

    python experiments/self_training.py FOLDER VARIANT[;VARIANT...] [TASK:LABELS:SEED ...]

Teacher and language models read up to 5,000 other documents without labels; students learn from the teacher's predictions for them, then from the labels. FOLDER keeps teachers.
Finished cells are kept in results/self_training.jsonl, and not trained again."""
import json
import sys
import time
from pathlib import Path
import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.losses import LabelSmoothingCrossEntropyFlat
from fastai.torch_core import set_seed
from tasks import draw
from ulmfit_ext.all import *
from ulmfit_ext.self_training import most_confident

LOG = Path(__file__).parent/'results'/'self_training.jsonl'
# part of the documents, the teacher's voice, and for soft targets their temperature
VARIANTS = {'a third':dict(), 'a third, with TF-IDF':dict(voice='with TF-IDF'), 'all':dict(part=1.), 'all, soft':dict(part=1., soft=1.),
            'all, sharpened, with TF-IDF':dict(part=1., soft=.5, voice='with TF-IDF')}


class SoftTargets(Callback):
    "Replace targets by probabilities, found by a document's tokens"
    order = -90
    def __init__(self, docs, probs): self.probs = dict(zip((tuple(d.tolist()) for d in docs), torch.as_tensor(probs, dtype=torch.float32)))
    def before_batch(self):
        if not self.training: return
        pad = self.dls.text_vocab.index('xxpad')
        self.learn.yb = (torch.stack([self.probs[tuple(x[x!=pad].tolist())] for x in self.xb[0]]),)


class CrossEntropy(torch.nn.CrossEntropyLoss):
    "Of classes or of probabilities"
    def forward(self, inp, targ): return super().forward(inp, torch.Tensor(targ) if targ.ndim==2 else torch.as_tensor(targ))


def error(learn, df): return round(100*float((np.array(Ensemble(learn).predictor.predict(df.text.tolist(), progress=False))!=df.label).mean()), 2)


def student(ens, texts, probs, seed, part=1/3, soft=None):
    "A forward student before and after the labels"
    recipe, corpus, idx = get_recipe('default'), ens.corpus, most_confident(probs, part)
    df = pd.DataFrame(dict(text=[texts[i] for i in idx], label=[ens.labels[i] for i in probs[idx].argmax(1)]))
    c = TextCorpus.from_df(df, label_col='label', valid_pct=.05, vocab=corpus.vocab, seed=seed)
    how = dict(loss_func=LabelSmoothingCrossEntropyFlat(eps=.1))
    if soft:
        q = (probs[idx]**(1/soft))[:, [ens.labels.index(l) for l in c.classes]]
        ds = c.clas_dls(32).train_ds
        how = dict(loss_func=CrossEntropy(), cbs=SoftTargets([ds[i][0] for i in range(len(ds))], (q/q.sum(1, keepdims=True))[c.train]))
    set_seed(seed)
    first = finetune_classifier(c.clas_dls(32), ens.lms['fwd'], recipe.replace(clas=dict(embed_p=.05)), 6, progress=False, **how)
    yield first
    set_seed(seed)
    last = recipe.replace(clas=dict(unfreeze='full', lr=.01/3))
    yield finetune_classifier(corpus.clas_dls(32), first, last, 3, progress=False, loss_func=ens.fwd.loss_func)


def main(folder, variants, jobs):
    done = {tuple(json.loads(l)['cell']) for l in LOG.read_text().splitlines()} if LOG.exists() else set()
    for job in jobs:
        task, n, seed = job.split(':')
        n, seed = int(n), int(seed)
        if not (new := [v for v in variants if (task, n, seed, v) not in done]): continue
        few, rest = draw(task, n, seed, 10**6)
        dev, texts = rest[:1000], rest.text[1000:6000].tolist()
        ens = ulmfit(few, unlabeled=texts, seed=seed, linear=True, progress=False, run_dir=folder/job.replace(':', '-'), resume=True)
        errors, outputs = ens.report(dev.text.tolist(), dev.label)['error %'].round(2).to_dict(), ens.outputs(texts)
        for v in new:
            kw, start = dict(VARIANTS[v]), time.time()
            first, last = (error(l, dev) for l in student(ens, texts, outputs[kw.pop('voice', 'both')], seed, **kw))
            row = dict(cell=(task, n, seed, v), teacher=errors, before_labels=first, student=last, seconds=round(time.time()-start))
            print(row, flush=True)
            with open(LOG, 'a') as f: f.write(json.dumps(row)+'\n')


if __name__=='__main__': main(Path(sys.argv[1]), sys.argv[2].split(';'), sys.argv[3:] or [f'trec6:100:{s}' for s in (1, 2, 3)])
