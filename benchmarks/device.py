"""Training steps on this machine's device, a GPU if there is one: ours and stock fastai's, in fp32 and by `to_fp16()`

    python benchmarks/device.py [paper|small|toy ...]

Prints a line of JSON for each. The first is ours in the precision that it chooses."""
import json
import sys
import time
from common import SIZES, child, imdb, peak_mb

SIZES['toy'] = dict(emb_sz=16, n_hid=24, n_layers=3)


def one(which, task, size, precision, seconds=8):
    "Tokens a second of the steps after the first ten, and the loss at the end"
    import warnings
    warnings.filterwarnings('ignore')
    import torch
    from fastai.text.all import AWD_LSTM, Callback, CancelFitException, TextDataLoaders, awd_lstm_clas_config, awd_lstm_lm_config, language_model_learner, set_seed, text_classifier_learner
    from ulmfit_ext.classifier import classifier_learner
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.lm import lm_learner
    import contextlib, os
    df = imdb(300 if size=='toy' else 4000).assign(is_valid=lambda d: d.index%40==0)
    with open(os.devnull, 'w') as null, contextlib.redirect_stdout(null):
        c = TextCorpus.from_df(df, label_col='label', valid_col='is_valid', max_vocab=30000)
        set_seed(0)
        if which=='ours':
            learn = lm_learner(c.lm_dls(64, 70), config=SIZES[size]) if task=='lm' else classifier_learner(c.clas_dls(64), None, config=SIZES[size])
        else:
            vocab = [w for w in c.vocab if w!='xxfake']
            kw = dict(text_col='text', valid_col='is_valid', text_vocab=vocab, bs=64, seq_len=70)
            if task=='lm':
                dls = TextDataLoaders.from_df(df, is_lm=True, **kw)
                learn = language_model_learner(dls, AWD_LSTM, config={**awd_lstm_lm_config, **SIZES[size]}, pretrained=False)
            else:
                dls = TextDataLoaders.from_df(df, label_col='label', **kw)
                learn = text_classifier_learner(dls, AWD_LSTM, config={**awd_lstm_clas_config, **SIZES[size]}, pretrained=False)
    if precision=='fp16': learn = learn.to_fp16()
    class Clock(Callback):
        order = 100
        def before_train(self): self.n, self.tokens = 0, 0
        def after_batch(self):
            if not self.training: return
            if torch.cuda.is_available(): torch.cuda.synchronize()
            self.n += 1
            if self.n==(10 if torch.cuda.is_available() else 1): self.start, self.tokens = time.perf_counter(), 0
            else: self.tokens += int((self.x!=1).sum())
            if self.n>12 and time.perf_counter()-self.start>seconds: raise CancelFitException()
    clock = Clock()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=clock)
    peak = torch.cuda.max_memory_allocated()/2**20 if torch.cuda.is_available() else peak_mb()
    return {'tokens/s':round(clock.tokens/(time.perf_counter()-clock.start)), 'loss':round(float(learn.smooth_loss), 3), 'peak MB':round(peak), 'steps':clock.n}


def all_():
    import torch
    kinds = ('auto', 'fp16') if torch.cuda.is_available() else ('auto',)
    for size in sys.argv[1:] or ['paper', 'small']:
        for task in ('lm', 'classifier'):
            for which in ('ours', 'stock'):
                for precision in kinds:
                    print(json.dumps(dict(what=f'{task}, {size}, {which}, {precision}', **child(__file__, which, task, size, precision))), flush=True)


if __name__=='__main__':
    if sys.argv[1:2]==['one']: print(json.dumps(one(*sys.argv[2:])))
    else: all_()
