import numpy as np
import pandas as pd
import pytest
import torch
from fastai.torch_core import set_seed
from hypothesis import given, settings, strategies as st
from fastai.text.models.awdlstm import awd_lstm_clas_config
from ulmfit_ext.models.encoder import scaled_config, text_classifier

CONFIG = dict(emb_sz=16, n_hid=24, n_layers=3)


def model(max_len=None, seq_len=7, drop_mult=1.):
    set_seed(0)
    m = text_classifier(50, 3, scaled_config({**awd_lstm_clas_config, **CONFIG}, drop_mult), seq_len=seq_len, max_len=max_len).eval()
    m[1].layers[0][0].running_var.mul_(.01) # a fresh head hides differences: its inputs are small
    return m


def alone(m, doc):
    "The definition: all tokens in one call, pooled over the window, by hand"
    enc = m[0]
    if not len(doc): return m[1].layers(torch.zeros(1, 3*CONFIG['emb_sz']))[0]
    enc.module.reset()
    out = enc.module(doc[None])[0]
    out = out if enc.max_len is None else out[-enc.max_len:]
    return m[1].layers(torch.cat([out[-1], out.max(0)[0], out.mean(0)])[None])[0]


docs = st.lists(st.lists(st.integers(2, 49), max_size=40), min_size=1, max_size=7)


@settings(max_examples=150, deadline=None)
@given(docs, st.integers(0, 2**31), st.sampled_from([None, 1, 5, 7, 20]), st.sampled_from([1, 3, 7, 100]))
def test_any_batch_any_padding(docs, seed, max_len, seq_len):
    rng, m = np.random.default_rng(seed), model(max_len, seq_len)
    width = max(map(len, docs)) + int(rng.integers(0, 9)) or 1
    x = torch.ones(len(docs), width, dtype=torch.long)
    for row, d in zip(x, docs):
        where = np.sort(rng.choice(width, len(d), replace=False)) # padding may even be between the tokens
        row[torch.from_numpy(where)] = torch.tensor(d, dtype=torch.long)
    with torch.no_grad():
        got = m(x)[0]
        for g, d in zip(got, docs): torch.testing.assert_close(g, alone(m, torch.tensor(d, dtype=torch.long)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('max_len', [None, 140])
def test_500_documents(max_len):
    "Documents of 1 to 3,000 tokens, in any order, in batches of 1 to 64: the same answer to 1e-5"
    m, rng = model(max_len, 70), np.random.default_rng(0)
    lens = np.r_[1, 2, 69, 70, 71, 140, 3000, np.exp(rng.uniform(0, np.log(3000), 493)).astype(int)]
    all_docs = [torch.from_numpy(rng.integers(2, 50, n)) for n in lens]
    with torch.inference_mode():
        single = torch.cat([m(d[None])[0] for d in all_docs])
        for bs in (3, 64):
            for idx in np.split(rng.permutation(500), range(bs, 500, bs)):
                x = torch.ones(len(idx), max(lens[idx]), dtype=torch.long)
                for row, i in zip(x, idx): row[-lens[i]:] = all_docs[i]
                assert (m(x)[0]-single[idx]).abs().max()<1e-5


def test_training_backpropagates_into_the_window_only():
    m = model(10, 4, drop_mult=0.).train()
    doc = torch.arange(2, 42)
    weight = m[0].module.encoder.weight
    loss = m[0](doc[None])[0].sum()
    g = torch.autograd.grad(loss, weight)[0].abs().sum(1)
    # the window's ten tokens, and those before it in the chunk where it starts
    assert set(g.nonzero()[:,0].tolist())==set(doc[28:].tolist())


def test_memory_is_constant_without_gradients():
    m, seen = model(None, 10), []
    m[0].module.rnns[-1].module.register_forward_hook(lambda mod, i, o: seen.append(tuple(o[0].shape)))
    with torch.no_grad(): m(torch.randint(2, 50, (1, 5000)))
    assert len(seen)==500 and set(seen)=={(1, 10, 16)}


def test_state_does_not_leak_between_calls():
    m, d = model(), torch.randint(2, 50, (1, 30))
    with torch.no_grad():
        first = m(d)[0]
        m(torch.randint(2, 50, (5, 12)))
        torch.testing.assert_close(m(d)[0], first, atol=0, rtol=0)


def test_500_real_documents(data_folder, capsys):
    "Newsgroup posts and reviews of 1 to 3,000 tokens, batched and alone, beside fastai's classifier with the same weights and its own padding"
    from fastai.text.data import TensorText, pad_chunk
    from fastai.text.models.awdlstm import AWD_LSTM
    from fastai.text.models.core import get_text_classifier
    from ulmfit_ext.data.corpus import TextCorpus
    from ulmfit_ext.data.tables import read_table
    texts = pd.concat([read_table(f'{data_folder}/{f}').text[:n] for f, n in (('news20-test.jsonl.xz', 1500), ('imdb-test.jsonl.xz', 500))])
    corpus = TextCorpus.from_df(pd.DataFrame(dict(text=texts[texts.str.strip()!=''])), max_vocab=5000)
    rng = np.random.default_rng(0)
    longest = np.argsort(-corpus.lens)[:250]
    idx = np.r_[longest, rng.choice(np.setdiff1d(np.arange(len(corpus)), longest), 250, replace=False)]
    cut = np.minimum(corpus.lens[idx], 3000)
    cut[:3] = 1, 2, 3000
    real = [torch.from_numpy(corpus[i][:n]) for i, n in zip(idx, cut)]
    set_seed(0)
    ours = text_classifier(len(corpus.vocab), 3, CONFIG, seq_len=72, max_len=1440).eval()
    stock = get_text_classifier(AWD_LSTM, len(corpus.vocab), 3, seq_len=72, config=CONFIG, max_len=1440).eval()
    stock.load_state_dict(ours.state_dict())

    def batch(docs, first):
        "As fastai pads: whole chunks before, the rest behind; or all behind"
        n = max(map(len, docs))
        return torch.stack([pad_chunk(TensorText(d), pad_first=first, seq_len=72, pad_len=n) for d in docs]).as_subclass(torch.Tensor)

    worst, changed = {}, {}
    with torch.inference_mode():
        for name, m in (('ours', ours), ('fastai', stock)):
            single = torch.cat([m(d[None])[0] for d in real])
            for order, perm in (('sorted', np.argsort(-cut, kind='stable')), ('shuffled', rng.permutation(500))):
                diff = []
                for bs in (4, 64):
                    for ids in np.split(perm, range(bs, 500, bs)):
                        try: diff += (m(batch([real[i] for i in ids], True))[0]-single[ids]).abs().amax(1).tolist()
                        except (RuntimeError, IndexError): diff += [np.inf]*len(ids)
                worst[name, order], changed[name, order] = max(diff), sum(d>1e-5 for d in diff)
    with capsys.disabled(): print('\nlargest difference', worst, '\nof 1,000 answers, moved by more than 1e-5', changed)
    assert worst['ours', 'sorted']<1e-5 and worst['ours', 'shuffled']<1e-5
