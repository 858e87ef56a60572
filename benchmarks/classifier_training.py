"Steps of `Learner.fit` for a classifier, all layers trained, in batches of 64: IMDb's reviews, and TREC-6's questions of ten words"
import os
import time
from contextlib import redirect_stdout
from common import SIZES, data, imdb, main, pair, save


def texts_of(task, n):
    import pandas as pd
    return imdb(n) if task=='imdb' else pd.read_csv(data()/'trec6-train.csv').sample(n, random_state=0, ignore_index=True)


def one(which, size, task, steps):
    from fastai.text.all import AWD_LSTM, Callback, CancelValidException, TextDataLoaders, accuracy, awd_lstm_clas_config, text_classifier_learner
    from ulmfit_ext.classifier import classifier_learner
    from ulmfit_ext.data.corpus import TextCorpus
    import ulmfit_ext.data.loaders
    import numpy as np
    np.random.seed(0)
    df = texts_of(task, int(steps)*64+64).assign(is_valid=lambda d: d.index<64)
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


def all_():
    save('classifier_training', [dict(what=what, unit='tokens/s', **pair(__file__, 'small', task, steps, repeat=repeat)['rate'])
                                 for what, task, steps, repeat in (('classifier training, small', 'imdb', 6, 2), ('the same, short texts', 'trec6', 40, 3))])


if __name__=='__main__': main(one, all_)
