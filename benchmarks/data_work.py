"From texts to the first batches of four models: language model and classifier, forward and backward"
import os
import tempfile
from common import imdb, main, pair, save, timed


def stock(df):
    from fastai.text.data import TextDataLoaders
    for back in (False, True):
        lm = TextDataLoaders.from_df(df, text_col='text', is_lm=True, backwards=back)
        lm.one_batch()
        TextDataLoaders.from_df(df, text_col='text', label_col='label', text_vocab=lm.vocab, backwards=back).one_batch()


def ours(df):
    from ulmfit_ext.data.corpus import TextCorpus
    import ulmfit_ext.data.loaders
    with tempfile.TemporaryDirectory() as tmp:
        os.environ['ULMFIT_CACHE'] = tmp
        c = TextCorpus.from_df(df, label_col='label')
        for back in (False, True):
            c.lm_dls(backwards=back).one_batch()
            c.clas_dls(backwards=back).one_batch()


def one(which, n):
    import fastai.text.data, ulmfit_ext.data.loaders
    from contextlib import redirect_stdout
    df = imdb(int(n))
    with open(os.devnull, 'w') as null, redirect_stdout(null): s, _ = timed(dict(stock=stock, ours=ours)[which], df)
    return dict(rate=len(df)/s)


def all_(): save('data_work', [dict(what='data for four models, 10,000 reviews, cold', unit='reviews/s', **pair(__file__, 10000, repeat=1)['rate'])])


if __name__=='__main__': main(one, all_)
