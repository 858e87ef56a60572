"""Does speed cost anything? A language model on IMDb, the same batches, seed and steps: stock fastai in fp32, ours in bf16 with the loss in blocks.

    python benchmarks/quality.py [TOKENS, default 2,000,000 [SEED ...]]"""
import json
import sys
from common import RESULTS, child, imdb, main, save, timed


def one(which, n_tokens, seed):
    from fastai.text.all import AWD_LSTM, LMLearner, Perplexity, accuracy, awd_lstm_lm_config, get_language_model, set_seed
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.lm import SIZES, lm_learner
    from ulmfit_ext.train.recipe import PRETRAINING
    import ulmfit_ext.data.loaders, contextlib, os
    with open(os.devnull, 'w') as null, contextlib.redirect_stdout(null):
        c = TextCorpus.from_df(imdb(int(n_tokens)//285), max_vocab=16000)
        dls = c.lm_dls(32, 70)
        set_seed(int(seed))
        # the model is made in the same way for both, so that it starts from the same weights
        learn = lm_learner(dls, phase=PRETRAINING, config=SIZES['small'], precision='bf16' if which=='ours' else 'fp32')
        if which=='stock':
            for cb in ('AutoPrecision', 'BlockLoss'): learn.remove_cbs([o for o in learn.cbs if type(o).__name__==cb])
        with learn.no_bar(), learn.no_logging():
            s, _ = timed(lambda: learn.fit_one_cycle(1, 4e-3))
            loss = learn.validate()[0]
    return dict(loss=float(loss), seconds=s)


def all_():
    n = int(sys.argv[1]) if len(sys.argv)>1 else 2_000_000
    old = RESULTS/'quality.json' # rows of earlier calls stay
    rows = json.loads(old.read_text())['rows'] if old.exists() else []
    for seed in sys.argv[2:] or (1, 2): # how much chance alone makes of it
        stock, ours = child(__file__, 'stock', n, seed), child(__file__, 'ours', n, seed)
        what = f'validation loss after {n:,} tokens, seed {seed}'
        rows = [r for r in rows if r['what']!=what]+[dict(what=what, ours=ours['loss'], stock=stock['loss'], ratio=ours['loss']/stock['loss'], seconds_ours=ours['seconds'], seconds_stock=stock['seconds'])]
        save('quality', rows)


if __name__=='__main__':
    if sys.argv[1:2]==['one']: main(one, None)
    else: all_()
