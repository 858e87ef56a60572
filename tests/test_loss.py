import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastai.callback.progress import *
from fastai.text.all import AWD_LSTM, Perplexity, TextDataLoaders, accuracy, awd_lstm_lm_config, language_model_learner, set_seed, top_k_accuracy
from hypothesis import given, settings, strategies as st
from conftest import TINY
from ulmfit_ext.data.samples import notes
from ulmfit_ext.models.loss import BlockLoss, linear_cross_entropy


def close(a, b, rel=1e-5): assert (a-b).norm()<=rel*b.norm()+1e-12, ((a-b).norm()/b.norm())


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(2, 50), st.integers(1, 12), st.integers(1, 70), st.booleans(), st.floats(.01, 60), st.integers(0, 999))
def test_loss_and_gradients_are_those_of_cross_entropy(n, words, features, block, bias, spread, seed):
    "Against plain cross-entropy in double precision, also where fp32 has no number for a probability"
    torch.manual_seed(seed)
    h, w, b = torch.randn(n, features)*spread, torch.randn(words, features), torch.randn(words) if bias else None
    y = torch.randint(words, (n,))
    def grads(f, double):
        ps = [None if o is None else (o.double() if double else o.clone()).requires_grad_() for o in (h, w, b)]
        loss = f(*ps)
        loss.backward()
        return [loss.detach(), *(p.grad for p in ps if p is not None)]
    # what fp32 loses in the logits themselves is the plain loss's too
    exact, plain = (grads(lambda h, w, b: F.cross_entropy(F.linear(h, w, b), y), d) for d in (True, False))
    for ours, best, usual in zip(grads(lambda h, w, b: linear_cross_entropy(h, w, b, y, block), False), exact, plain):
        assert (ours-best).norm()<=max(1e-5*best.norm(), 3*(usual-best).norm())+1e-7
    with torch.no_grad(): assert abs(linear_cross_entropy(h, w, b, y, block)-exact[0])<=1e-4*abs(exact[0])+1e-6


def make_dls():
    set_seed(0)
    return TextDataLoaders.from_df(notes(200), text_col='text', is_lm=True, bs=4, seq_len=12, valid_pct=.2, seed=1)


def stock(cbs):
    dls = make_dls() # each learner its own: a loader that was used before shuffles on
    set_seed(1)
    return language_model_learner(dls, AWD_LSTM, config={**awd_lstm_lm_config, **TINY}, pretrained=False, metrics=[accuracy, Perplexity(), top_k_accuracy], cbs=cbs)


def test_a_stock_learner_trains_alike():
    res = {}
    for name, cbs in (('plain', []), ('blocks', [BlockLoss()])):
        l = stock(cbs)
        set_seed(2)
        with l.no_bar(), l.no_logging(): l.fit(2, 1e-3)
        res[name] = l, np.array(l.recorder.values, dtype=float)
    (a, va), (b, vb) = res['plain'], res['blocks']
    np.testing.assert_allclose(va[:,:4], vb[:,:4], rtol=1e-3) # Adam enlarges the last digits of small gradients


def test_a_stock_learner_has_the_same_gradients():
    from fastai.callback.core import Callback, CancelFitException
    class Once(Callback):
        order = 100
        def before_step(self): raise CancelFitException()
    res = []
    for cbs in ([], [BlockLoss()]):
        l = stock([*cbs, Once()])
        set_seed(2)
        with l.no_bar(), l.no_logging(): l.fit(1, 1e-3)
        res.append([p.grad for p in l.model.parameters()])
    for p, q in zip(*res): close(q, p)


def test_answers_are_as_ever():
    l = stock([BlockLoss()])
    with l.no_bar(), l.no_logging():
        l.fit(1, 1e-3)
        preds, targs, losses = l.get_preds(with_loss=True, reorder=False)
        valid = l.validate()
    assert 'forward' not in vars(l.model[1])
    assert preds.shape==(*targs.shape, len(l.dls.vocab)) and torch.is_tensor(preds)
    l.remove_cb(BlockLoss)
    with l.no_bar():
        plain = l.get_preds(with_loss=True, reorder=False)
        close(torch.tensor(valid), torch.tensor(l.validate()), 1e-4)
        assert l.predict('the sailor', n_words=3).startswith('the sailor')
    for x, y in zip((preds, targs, losses), plain): close(x.float(), y.float(), 1e-6)


def test_an_interrupted_fit_leaves_the_model_whole():
    from fastai.callback.core import Callback
    class Stop(Callback):
        def after_loss(self): raise KeyboardInterrupt()
    l = stock([BlockLoss()])
    with l.no_bar(), l.no_logging(), pytest.raises(KeyboardInterrupt): l.fit(1, cbs=Stop())
    x, y = l.dls.one_batch()
    assert torch.is_tensor(l.model(x)[0])
