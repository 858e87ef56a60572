"""How much dropout suits a language model that starts from nothing and reads a small text many times: validation perplexity after each of 15 epochs on the questions of TREC-6

    python benchmarks/own_dropout.py [TIMES ...]

TIMES multiply the dropouts of the recipe 'mini': 0.4 are those of pretraining, 4 the paper's."""
import sys
import warnings
import pandas as pd
from common import data, save
from fastai.torch_core import set_seed
from ulmfit_ext.all import *


def perplexities(train, times):
    corpus, recipe = TextCorpus.from_df(train, valid_pct=.1), get_recipe('mini')
    set_seed(42)
    learn = finetune_lm(corpus.lm_dls(recipe.lm.bs, recipe.pre.seq_len), None, recipe, 15, config=SIZES['mini'], drop_mult=times)
    at = learn.recorder.metric_names.index('perplexity')-1
    return [round(float(row[at]), 2) for row in learn.recorder.values]


if __name__=='__main__':
    warnings.filterwarnings('ignore')
    train = pd.read_csv(data()/'trec6-train.csv')
    save('own_dropout', [dict(what=f"perplexity on questions held out, from nothing, {t} times the dropouts of 'mini'", epochs=perplexities(train, t)) for t in map(float, sys.argv[1:] or (.4, 1, 4))])
