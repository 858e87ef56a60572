"A corpus of 1, 10 and 100 times the documents: tokens a second, and memory"
import os
import tempfile
from contextlib import redirect_stdout
from common import child, imdb, main, rss_mb, save, timed


def one(which, n):
    import pandas as pd
    from ulmfit_ext.data.corpus import TextCorpus
    import ulmfit_ext.data.loaders
    with tempfile.TemporaryDirectory() as tmp, open(os.devnull, 'w') as null, redirect_stdout(null):
        # the text is read from a file, row by row: what grows with it is the memory of ours
        imdb(int(n)).to_json(f'{tmp}/reviews.jsonl', orient='records', lines=True)
        os.environ['ULMFIT_CACHE'] = tmp
        TextCorpus.from_df(pd.DataFrame(dict(text=['warm up']*4)), valid_pct=.25)
        before = rss_mb()
        s, c = timed(lambda: TextCorpus.from_files([f'{tmp}/reviews.jsonl']))
        t, _ = timed(lambda: sum(x.numel() for x, y in c.lm_dls(64, 70).train))
        n_tokens = int(c.offsets[-1])
    return dict(build=n_tokens/s, read=n_tokens/t, memory=rss_mb()-before)


def all_(): save('scaling', [dict(what=f'{n:,} reviews', **{k:round(v) for k, v in child(__file__, 'ours', n).items()}) for n in (250, 2500, 25000)])


if __name__=='__main__': main(one, all_)
