"Steps of `Learner.fit` for a language model on IMDb, batches of 64 x 70 tokens, validation left out; and the memory they take"
import statistics
import time
from common import SIZES, imdb, main, pair, peak_mb, save


def one(which, size, steps):
    from fastai.text.all import AWD_LSTM, Callback, Perplexity, TextDataLoaders, accuracy, awd_lstm_lm_config, language_model_learner
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.lm import lm_learner
    import contextlib, os
    n_words, df = {'paper':60000, 'small':16000}[size], imdb(int(int(steps)*17)).assign(is_valid=lambda d: d.index%40==0)
    # the words of the batches, and others to make up the number
    with open(os.devnull, 'w') as null, contextlib.redirect_stdout(null):
        c = TextCorpus.from_df(df, valid_col='is_valid', min_freq=1)
        vocab = [w for w in c.vocab if w!='xxfake'][:n_words]
        vocab += [f'unseen{i}' for i in range(n_words-len(vocab))]
        if which=='ours':
            learn = lm_learner(TextCorpus.from_df(df, valid_col='is_valid', vocab=vocab).lm_dls(64, 70), config=SIZES[size])
        else:
            dls = TextDataLoaders.from_df(df, text_col='text', valid_col='is_valid', is_lm=True, text_vocab=vocab, bs=64, seq_len=70)
            learn = language_model_learner(dls, AWD_LSTM, config={**awd_lstm_lm_config, **SIZES[size]}, pretrained=False, metrics=[accuracy, Perplexity()])
    class Clock(Callback):
        order, seconds = 100, []
        def before_batch(self): self.start = time.perf_counter()
        def after_batch(self):
            self.sync()
            if self.training: self.seconds.append(time.perf_counter()-self.start)
        def sync(self):
            import torch
            if torch.cuda.is_available(): torch.cuda.synchronize()
        def before_validate(self):
            from fastai.callback.core import CancelValidException
            raise CancelValidException()
    before = peak_mb()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3, cbs=Clock())
    return dict(rate=64*70/statistics.median(Clock.seconds[1:]), memory=peak_mb()-before)


def all_():
    rows = []
    for size, steps, name in (('paper', 4, 'paper size (60k, 400/1152/3)'), ('small', 8, 'small (16k, 256/640/3)')):
        r = pair(__file__, size, steps)
        rows += [dict(what=f'LM training, {name}', unit='tokens/s', **r['rate']), dict(what=f'its memory, {name}', unit='MB', **r['memory'])]
    save('lm_training', rows)


if __name__=='__main__': main(one, all_)
