"""Test errors of stock fastai's recipe, its text tutorial, from the same pretrained weights, on the cells of grid.py

    python experiments/stock.py [TASK:LABELS:SEED ...]

The tutorial reads its text eleven times as a language model and five times as a classifier; here forward, backward and their mean. A tenth of the labels is held out, as in
grid.py, though nothing is chosen by it. Batches have 64 documents, or a tenth of the labels where that is less, which gives it more steps. Finished cells are kept in results/stock.jsonl, and not trained again."""
import pickle
import sys
import tempfile
import time
import warnings
from pathlib import Path
import numpy as np
import torch
from fastai.text.all import *
from tasks import few_labels, measure, test_part
from ulmfit_ext.models.bundle import pretrained

LOG = Path(__file__).parent/'results'/'stock.jsonl'


def classifier(few, backwards, seed, folder):
    "The tutorial's lines, in one direction"
    bundle = pretrained('mini', 'bwd' if backwards else 'fwd')
    torch.save(bundle.model().state_dict(), folder/'lm.pth') # fastai wants its own order of tensors
    with open(folder/'lm.pkl', 'wb') as f: pickle.dump(bundle.vocab, f)
    how = dict(text_col='text', valid_pct=.1, seed=seed, backwards=backwards, bs=min(64, len(few)//10))
    dls_lm = TextDataLoaders.from_df(few, is_lm=True, **how)
    config = {**awd_lstm_lm_config, **bundle.sizes}
    learn = language_model_learner(dls_lm, AWD_LSTM, drop_mult=.3, config=config, pretrained=False, path=folder)
    learn.load_pretrained(folder/'lm.pth', folder/'lm.pkl')
    learn.fit_one_cycle(1, 1e-2)
    learn.unfreeze()
    learn.fit_one_cycle(10, 1e-3)
    learn.save_encoder('encoder')
    dls = TextDataLoaders.from_df(few, label_col='label', text_vocab=dls_lm.vocab, **how)
    learn = text_classifier_learner(dls, AWD_LSTM, drop_mult=.5, config={**awd_lstm_clas_config, **bundle.sizes}, pretrained=False, path=folder)
    learn.load_encoder('encoder')
    learn.freeze() # as with weights of fastai's own
    learn.fit_one_cycle(1, 2e-2)
    for groups, epochs, lr in ((-2, 1, 1e-2), (-3, 1, 5e-3), (0, 2, 1e-3)):
        learn.freeze_to(groups)
        learn.fit_one_cycle(epochs, slice(lr/2.6**4, lr))
    return learn


def cell(task, n, seed):
    few, test, start, learns = few_labels(task, n, seed), test_part(task), time.time(), []
    for backwards in (False, True):
        with tempfile.TemporaryDirectory() as tmp:
            set_seed(seed)
            learn = classifier(few, backwards, seed, Path(tmp))
        learns.append(learn)
    seconds = time.time()-start
    probs = [l.get_preds(dl=l.dls.test_dl(test.text.tolist()))[0].numpy() for l in learns]
    y = np.array([list(learn.dls.vocab[1]).index(l) for l in test.label])
    errors = {k:round(100*float((p.argmax(1)!=y).mean()), 2) for k, p in zip(('forward', 'backward', 'both'), [*probs, sum(probs)])}
    return dict(errors=errors, seconds=round(seconds), documents=len(y))


if __name__=='__main__':
    warnings.simplefilter('ignore')
    measure(cell, LOG, sys.argv[1:] or [f'trec6:{n}:{s}' for s in (1, 2, 3) for n in (100, 500)])
