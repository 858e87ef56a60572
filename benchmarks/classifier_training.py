"Steps of `Learner.fit` for a classifier on IMDb, all layers trained, batches of 64 reviews"
import os
import statistics
import time
from contextlib import redirect_stdout
from common import imdb, main, pair, save


def one(which, size, steps):
    from fastai.text.all import AWD_LSTM, Callback, CancelValidException, TextDataLoaders, accuracy, awd_lstm_clas_config, text_classifier_learner
    from ulmfit_ext.classifier import classifier_learner
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.lm import SIZES
    import ulmfit_ext.data.loaders
    import numpy as np
    np.random.seed(0)
    df = imdb(int(steps)*64+64).assign(is_valid=lambda d: d.index<64)
    class Clock(Callback):
        order, n, seconds = 100, 0, 0.
        def before_batch(self): self.start = time.perf_counter()
        def after_batch(self):
            Clock.seconds += time.perf_counter()-self.start
            Clock.n += int((self.xb[0]!=1).sum())
        def before_validate(self): raise CancelValidException()
    with open(os.devnull, 'w') as null, redirect_stdout(null):
        c = TextCorpus.from_df(df, label_col='label', valid_col='is_valid', max_vocab=16000)
        vocab = c.vocab+[f'unseen{i}' for i in range(16000-len(c.vocab))]
        if which=='ours':
            learn = classifier_learner(TextCorpus.from_df(df, label_col='label', valid_col='is_valid', vocab=vocab).clas_dls(64), config=SIZES[size])
        else:
            dls = TextDataLoaders.from_df(df, text_col='text', label_col='label', valid_col='is_valid', text_vocab=vocab, bs=64, seq_len=70)
            learn = text_classifier_learner(dls, AWD_LSTM, seq_len=70, max_len=1400, config={**awd_lstm_clas_config, **SIZES[size]}, pretrained=False, metrics=accuracy)
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=Clock())
    return dict(rate=Clock.n/Clock.seconds)


def all_(): save('classifier_training', [dict(what='classifier training, small', unit='tokens/s', **pair(__file__, 'small', 6, repeat=2)['rate'])])


if __name__=='__main__': main(one, all_)
