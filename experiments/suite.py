"""A suite of small tasks, and what changes of the recipe do to its errors; measured on training documents that the labels were not drawn from, never on a test split

    python experiments/suite.py FOLDER VARIANT[;VARIANT...] [TASK:LABELS ...]

FOLDER keeps language models, which variants share that differ in the classifier alone. A draw is 500 (or LABELS) labelled documents, a tenth of which is the validation part
that training sees; errors are of one direction, forward, on up to 2,000 other documents. Finished cells are kept in results/suite.jsonl, and not trained again."""
import json
import os
import sys
import time
from pathlib import Path
import pandas as pd
from tasks import TASKS, draw
from fastai.torch_core import set_seed
from fastai.losses import LabelSmoothingCrossEntropyFlat
from fastai.callback.core import Callback
from ulmfit_ext.all import *
from ulmfit_ext.train.run import copy_tensors, tensors_of

RESULTS = Path(__file__).parent/'results'
# changes of recipe 'default' by phase; 'lm' of None takes the pretrained language model as it is
VARIANTS = {
    'default':{}, 'own words':dict(words='own'), 'lm as it is':dict(lm=None), 'lm 1':dict(lm=dict(epochs=1)), 'lm 10':dict(lm=dict(epochs=10)),
    'lm rate .001':dict(lm=dict(lr=.001)), 'lm rate .0003':dict(lm=dict(lr=.0003)), 'lm 10, rate .001':dict(lm=dict(epochs=10, lr=.001)),
    'best':dict(clas=dict(keep='best')), 'averaged':dict(average=True),
    'best, own words':dict(words='own', clas=dict(keep='best')), 'best, lm as it is':dict(lm=None, clas=dict(keep='best')), 'best, lm rate .001':dict(lm=dict(lr=.001), clas=dict(keep='best')),
    'epochs 6':dict(clas=dict(epochs=6)), 'epochs 10':dict(clas=dict(epochs=10)), 'epochs 40':dict(clas=dict(epochs=40)),
    'rate .005':dict(clas=dict(lr=.005)), 'rate .02':dict(clas=dict(lr=.02)), 'full':dict(clas=dict(unfreeze='full')), 'head':dict(clas=dict(unfreeze='last')),
    'dropout 0':dict(clas=dict(output_p=0., hidden_p=0., input_p=0., embed_p=0., weight_p=0.)),
    'dropout 1':dict(clas=dict(output_p=.4, hidden_p=.3, input_p=.4, embed_p=.05, weight_p=.5)),
    'words .2':dict(clas=dict(embed_p=.2)), 'pooled .5':dict(clas=dict(output_p=.5, head_p=(.4,))), 'bs 8':dict(clas=dict(bs=8)), 'bs 16':dict(clas=dict(bs=16)),
    'one cycle':dict(clas=dict(schedule='one_cycle')), 'factor 1.5':dict(clas=dict(factor=1.5)), 'factor 4':dict(clas=dict(factor=4.)),
    'wd':dict(clas=dict(wd=.05, decouple_wd=True)), 'adam .9':dict(clas=dict(mom=.9)), 'smoothing':dict(smooth=.1),
    'reviews first':dict(start=os.environ.get('ULMFIT_FIELD')), # a language model that went on from mini on unlabelled IMDb reviews
}


class Average(Callback):
    "Keep a moving average of the weights"
    run_valid = False
    def __init__(self, decay=.99): self.decay, self.mean = decay, None
    def after_step(self):
        own = tensors_of(self.learn.model)
        if self.mean is None: self.mean = {k:v.detach().clone().float() for k, v in own.items()}
        for k, v in own.items(): self.mean[k].lerp_(v.detach().float(), 1-self.decay)


def cell(folder, task, n, seed, variant):
    change = dict(VARIANTS[variant])
    smooth, words, average, lm = (change.pop(k, v) for k, v in (('smooth', None), ('words', 'both'), ('average', False), ('lm', {})))
    first = change.pop('start', 'mini')
    of_lm = get_recipe('default').replace(lm=lm or {})
    recipe = of_lm.replace(clas=dict(keep='last', **change.get('clas', {})) if 'keep' not in change.get('clas', {}) else change['clas'])
    few, dev = draw(task, n, seed, 500 if task in ('news20', 'imdb') else 2000)
    known = pretrained(first, 'fwd').vocab
    corpus = TextCorpus.from_df(few, label_col='label', seed=seed, known=None if words=='own' else known, vocab=known if lm is None else None)
    tokens = int(corpus.lens[corpus.lm_train].sum())
    start, source = time.process_time(), first
    if lm is not None:
        p = recipe.lm
        set_seed(seed)
        source = finetune_lm(corpus.lm_dls(max(min(p.bs, tokens//(10*p.seq_len)), 1), p.seq_len, vary_len=p.vary_len), first, of_lm, progress=False,
                             run_dir=folder/f'{task}-{n}-{seed}-{words if first=="mini" else "field"}-{json.dumps(lm)}'.replace('"', '').replace(' ', ''), resume=True)
    lm_seconds, start = time.process_time()-start, time.process_time()
    set_seed(seed)
    kw = {} if smooth is None else dict(loss_func=LabelSmoothingCrossEntropyFlat(eps=smooth))
    mean = Average()
    learn = finetune_classifier(corpus.clas_dls(recipe.clas.bs), source, recipe, progress=False, cbs=mean if average else None, **kw)
    if average: copy_tensors(tensors_of(learn.model), mean.mean, 'the average')
    seconds = time.process_time()-start
    pred = Ensemble(learn).predictor
    wrong = (pd.Series(pred.predict(dev.text.tolist(), progress=False), index=dev.index).astype(str)!=dev.label).mean()
    return dict(error=round(100*float(wrong), 2), seconds=round(seconds, 1), lm_seconds=round(lm_seconds, 1), **{k:round(v, 4) for k, v in learn.meta['metrics'].items()})


def main(folder, variants, tasks):
    log = RESULTS/'suite.jsonl'
    done = {tuple(json.loads(l)['cell']) for l in log.read_text().splitlines()} if log.exists() else set()
    for seed in (1, 2):
        for variant in variants:
            for task in tasks:
                task, _, n = task.partition(':')
                if (key := (task, int(n or 500), seed, variant)) in done: continue
                row = dict(cell=key, **cell(folder, *key))
                print(row, flush=True)
                with open(log, 'a') as f: f.write(json.dumps(row)+'\n')


if __name__=='__main__': main(Path(sys.argv[1]), sys.argv[2].split(';'), sys.argv[3:] or TASKS)
