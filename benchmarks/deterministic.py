"What `deterministic` costs: steps of a small language model with it and without, in turn; and whether two runs end with the same weights"
import os
import statistics
import time
from contextlib import redirect_stdout
from common import imdb, save
import torch
from fastai.callback.core import Callback, CancelValidException
from fastai.torch_core import set_seed
from ulmfit_ext.all import *


class Clock(Callback):
    order = 100
    def __init__(self): self.seconds = []
    def before_batch(self): self.start = time.perf_counter()
    def after_batch(self):
        if torch.cuda.is_available(): torch.cuda.synchronize()
        self.seconds.append(time.perf_counter()-self.start)
    def before_validate(self): raise CancelValidException()


def steps(on, corpus):
    "Tokens a second, and the weights at the end"
    set_seed(1)
    clock = Clock()
    with open(os.devnull, 'w') as null, redirect_stdout(null), deterministic(on):
        learn = lm_learner(corpus.lm_dls(64, 70), config=SIZES['small'])
        with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=clock)
    return 64*70/statistics.median(clock.seconds[1:]), [p.detach().cpu().clone() for p in learn.model.parameters()]


if __name__=='__main__':
    corpus = TextCorpus.from_df(imdb(160).assign(v=lambda d: d.index%40==0), valid_col='v', min_freq=1)
    corpus.vocab += [f'unseen{i}' for i in range(16000-len(corpus.vocab))]
    rates, weights = {True:[], False:[]}, {True:[], False:[]}
    for _ in range(3):
        for on in (False, True):
            rate, w = steps(on, corpus)
            rates[on].append(rate)
            weights[on].append(w)
    same = {on:all(torch.equal(a, b) for ws in weights[on][1:] for a, b in zip(weights[on][0], ws)) for on in weights}
    a, b = (statistics.median(rates[on]) for on in (False, True))
    save('deterministic', [dict(what='LM training, small', unit='tokens/s', without=round(a), deterministic=round(b), ratio=round(statistics.median(x/y for x, y in zip(rates[True], rates[False])), 3), same_bits_without=same[False], same_bits_with=same[True])])
