"""Pretraining steps of the size `mini` with the softmax over all 16,000 words and over samples of them, in turn: tokens a second"""
from common import imdb, main, pair, save


def one(which, steps):
    import time
    from fastai.callback.core import Callback, CancelFitException
    from fastai.torch_core import set_seed
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.lm import SIZES, lm_learner
    from ulmfit_ext.models.weights import pretrained
    from ulmfit_ext.train.recipe import PRETRAINING
    class Stop(Callback):
        order = 100
        def before_fit(self): self.times = []
        def after_batch(self):
            self.times.append(time.perf_counter())
            if len(self.times)>int(steps): raise CancelFitException()
    df = imdb(int(steps)*12).assign(is_valid=lambda d: d.index%40==0)
    set_seed(0)
    learn = lm_learner(TextCorpus.from_df(df, valid_col='is_valid', vocab=pretrained('mini', 'fwd').vocab).lm_dls(PRETRAINING.bs, PRETRAINING.seq_len), None, PRETRAINING,
                       SIZES['mini'], softmax={'ours':'sampled', 'stock':'full'}[which])
    stop = Stop()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=stop)
    t = stop.times[3:] # the first steps warm up
    return dict(rate=PRETRAINING.bs*PRETRAINING.seq_len*(len(t)-1)/(t[-1]-t[0]))


def all_(): save('sampled_softmax', [dict(what='LM training, mini (16k, 256/512/3), sampled softmax over full', unit='tokens/s', **pair(__file__, 25)['rate'])])


if __name__=='__main__': main(one, all_)
