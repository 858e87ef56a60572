"""How well a pretrained pair of language models reads text that it has not seen: perplexity, unknown words, bits per character

    python experiments/perplexity.py FOLDER     # with the run folders `fwd` and `bwd` of `ulmfit pretrain`

Perplexity is over all tokens, and says nothing between models of different vocabularies: a word that is not in a vocabulary is an easy
`xxunk`. Bits per character does: an unknown word costs its `xxunk` and its spelling, letter by letter, as often as each letter stands in
the unknown words of other text (enwiki-valid). In WikiText the unknown words are unknown to its makers too, so that its bits are too few."""
import math
import re
import sys
from collections import Counter
from pathlib import Path
import pandas as pd
sys.path.insert(0, str(Path(__file__).parents[1]/'benchmarks'))
from common import data, save
from ulmfit_ext.all import *


def wikitext(path):
    "The articles of a WikiText file, whose words stay apart as they are; hyphens are joined, and its own unknown words written as fastai does"
    text = path.read_text(encoding='utf8')
    for a, b in ((' @-@ ', '-'), (' @,@ ', ','), (' @.@ ', '.'), ('<unk>', 'xxunk')): text = text.replace(a, b)
    return [a.strip() for a in re.split(r'\n (?== [^=\n]+ = ?\n)', '\n'+text) if a.strip()]


def texts_of(name):
    if name.startswith('wikitext'): return wikitext(data()/f'{name}.txt')
    return pd.read_json(data()/f'{name}.jsonl.xz', lines=True).text.tolist()


def spelling(words):
    "Bits of each character, and of the end, in `words`"
    n = Counter(c for w in words for c in [*w, ''])
    return {c:-math.log2(v/n.total()) for c, v in n.items()}


def one(bundle, texts, bits):
    known = set(bundle.vocab)
    unknown = [w for doc in tokenize(texts) for w in doc if w not in known]
    df = pd.DataFrame(dict(text=['Nothing to train on here. '*9, *texts], valid=[False]+[True]*len(texts)))
    corpus = TextCorpus.from_df(df, valid_col='valid', vocab=bundle.vocab)
    learn = lm_learner(corpus.lm_dls(bs=10, backwards=bundle.direction=='bwd'), bundle)
    with learn.no_bar(), learn.no_logging(): _, accuracy, perplexity = learn.validate()
    tokens = int(corpus.lens[corpus.valid].sum())
    spelt = sum(bits.get(c, max(bits.values())) for w in unknown for c in [*w, ''])
    return dict(perplexity=round(float(perplexity), 2), accuracy=round(float(accuracy), 4), tokens=tokens, unknown_percent=round(100*len(unknown)/tokens, 2),
                bits_per_character=round((math.log2(perplexity)*tokens+spelt)/sum(map(len, texts)), 4))


if __name__=='__main__':
    folder, rows = Path(sys.argv[1]), []
    for k in ('fwd', 'bwd'):
        if not (folder/k).exists(): continue
        bundle = pretrained(folder, k)
        known = set(bundle.vocab)
        bits = spelling([w for doc in tokenize(texts_of('enwiki-valid')) for w in doc if w not in known])
        for name in ('enwiki-test', 'wikitext103-test'):
            rows.append(dict(what=f'{name}, {k}', words=len(bundle.vocab), **one(bundle, texts_of(name), bits)))
            save('perplexity', rows)
