"""How well a pretrained pair of language models reads text that it has not seen: perplexity, unknown words, bits per character

    python benchmarks/perplexity.py FOLDER [TOKENS]     # with the run folders `fwd` and `bwd` of `ulmfit pretrain`, after so many million tokens in an earlier run

Perplexity is over all tokens, and says nothing between models of different vocabularies: a word that is not in a vocabulary is an easy
`xxunk`. Bits per character does: an unknown word costs its `xxunk` and its spelling, letter by letter, as often as each letter stands in
the unknown words of other text (enwiki-valid). In WikiText the unknown words are unknown to its makers too, so that its bits are too few."""
import json
import math
import re
import sys
from collections import Counter
from pathlib import Path
import pandas as pd
from common import RESULTS, data, save
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


def curves(folder, file, before):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    fig, ax = plt.subplots(figsize=(7, 3.8))
    for k in ('fwd', 'bwd'):
        log = folder/k/'metrics.jsonl'
        if not log.exists(): continue
        d = pd.read_json(log, lines=True).reindex(columns=['step', 'loss', 'perplexity'])
        m, v = d[d.loss.notna()], d[d.perplexity.notna()]
        line, = ax.plot(before+m.step*32*70/1e6, m.loss.map(math.exp), lw=.9, label=f'{k}, training')
        ax.plot(before+v.step*32*70/1e6, v.perplexity, dict(fwd='x', bwd='o')[k], mfc='none', ms=8, color=line.get_color(), label=f'{k}, enwiki-valid')
    top = min(1000, 1.5*math.exp(m.loss.max()))
    ax.set(xlabel='million tokens', ylabel='perplexity', yscale='log')
    ticks = [t for t in (40, 50, 60, 80, 100, 200, 400, 1000) if t<=top]
    ax.set_yticks(ticks, ticks)
    ax.set_ylim(30, top)
    ax.minorticks_off()
    if json.loads((folder/k/'run.json').read_text()).get('softmax')=='sampled':
        full = before+.9*v.step.iloc[-1]*32*70/1e6 # see `BlockLoss`
        ax.axvline(full, color='.6', lw=.8, ls='--')
        for text, ha in (('sampled softmax ', 'right'), (' full', 'left')): ax.text(full, .6, text, ha=ha, fontsize=8, color='.4', transform=ax.get_xaxis_transform())
    ax.legend()
    fig.tight_layout()
    fig.savefig(file, dpi=110)


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
    curves(folder, RESULTS/'perplexity.png', float(sys.argv[2]) if len(sys.argv)>2 else 0.)
