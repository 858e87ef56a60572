"""Are our tokens fastai's? All 100,000 IMDb reviews, and articles of Wikipedia, both ways; prints what differs, if anything does.

    python tests/long/same_tokens.py [articles of each Wikipedia file, default 500]"""
import os
import sys
from pathlib import Path
from multiprocessing import get_context


FILES = ['imdb-train', 'imdb-test', 'imdb-unsup', 'enwiki-valid', 'enwiki-test', 'enwiki-train-0', 'enwiki-train-1', 'enwiki-train-2', 'enwiki-train-3']


def start():
    global ours, stock
    from fastai.text.core import SpacyTokenizer, TokenizeWithRules, defaults
    from ulmfit_ext.data.tokenize import PieceTokenizer, clean
    ours, stock = PieceTokenizer(rules=[clean, *defaults.text_proc_rules]), TokenizeWithRules(SpacyTokenizer())


def differ(texts):
    "Number of tokens, and the texts whose tokens are not the same"
    a, b = [list(o) for o in ours(texts)], [list(o) for o in stock(texts)]
    return sum(map(len, b)), [t for t, x, y in zip(texts, a, b) if x!=y]


def all_():
    import pandas as pd
    articles, rows = int(sys.argv[1]) if len(sys.argv)>1 else 500, []
    with get_context('spawn').Pool(2, start) as pool:
        for f in FILES:
            df = pd.read_json(Path(os.environ['ULMFIT_DATA'])/f'{f}.jsonl.xz', lines=True)
            texts = df.text.tolist() if f.startswith('imdb') else df.text.tolist()[:articles]
            res = pool.map(differ, [texts[i:i+250] for i in range(0, len(texts), 250)], chunksize=1)
            bad = [t for _, b in res for t in b]
            rows.append(dict(what=f, documents=len(texts), tokens=sum(n for n, _ in res), different=len(bad)))
            print(rows[-1], *(repr(t[:300]) for t in bad[:3]), sep='\n', flush=True)


if __name__=='__main__': all_()
