"Tokens of 25,000 IMDb reviews, one process, the same tokens"
import hashlib
from common import imdb, main, pair, save, timed


def one(which, n):
    from fastai.text.core import SpacyTokenizer, TokenizeWithRules
    from ulmfit_ext.data.tokenize import tokenize
    texts = imdb(int(n)).text.tolist()
    tok, h = tokenize if which=='ours' else TokenizeWithRules(SpacyTokenizer()), hashlib.sha256()
    # hashing is not counted: tokens are kept, and compared afterwards
    s, toks = timed(lambda: [list(o) for o in tok(texts)])
    for o in toks: h.update('\n'.join(o).encode())
    return dict(rate=len(texts)/s, digest=int(h.hexdigest()[:12], 16))


def all_():
    r = pair(__file__, 25000, repeat=1)
    assert r['digest']['ratio']==1, 'the tokens differ'
    save('tokenizing', [dict(what='tokenise 25,000 IMDb reviews, cold', unit='reviews/s', **r['rate'])])


if __name__=='__main__': main(one, all_)
