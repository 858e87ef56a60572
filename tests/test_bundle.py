import json
import os
import pickle
import subprocess
import sys
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
import pytest
import torch
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
from fastai.text.models.core import get_language_model
from ulmfit_ext.models.bundle import Bundle, load_bundle, load_state, model_state, remap_vocab, save_bundle

ARCH = dict(emb_sz=8, n_hid=12, n_layers=3)
VOCAB = ['xxunk', 'xxpad', 'xxbos', 'xxeos', 'xxfld', 'xxrep', 'xxwrep', 'xxup', 'xxmaj', 'the', 'boat', 'cart', 'sailor', 'saw', 'found', 'left']


def language_model(): return get_language_model(AWD_LSTM, len(VOCAB), {**awd_lstm_lm_config, **ARCH}).eval()
def a_bundle(model=None): return Bundle(dict(kind='lm', direction='fwd', arch=ARCH), VOCAB, model_state(model or language_model()))


def test_there_and_back(tmp_path):
    model, x = language_model(), torch.tensor([[2, 9, 10, 13]])
    save_bundle(a_bundle(model), tmp_path/'lm')
    loaded = load_bundle(tmp_path/'lm', 'lm', 'fwd').model()
    model.reset()
    assert torch.equal(loaded(x)[0], model(x)[0])
    # the decoder is still tied to the embedding
    assert loaded[1].decoder.weight is loaded[0].encoder.weight
    assert not [p for p in tmp_path.iterdir() if p.name!='lm']


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    bundle = a_bundle()
    bundle.config['trained_with'] = 'x'*2**24
    with pytest.raises(ValueError, match='config.json would have 16,777'): save_bundle(bundle, tmp_path/'lm')
    assert not list(tmp_path.iterdir())


def test_half_precision_is_stored_small_and_read_as_fp32(tmp_path):
    save_bundle(a_bundle(), tmp_path/'full')
    save_bundle(a_bundle(), tmp_path/'half', half=True)
    size = lambda d: (tmp_path/d/'model.safetensors').stat().st_size
    assert size('half')<.6*size('full')
    assert {v.dtype for v in load_bundle(tmp_path/'half').state.values()}=={torch.float32}


def test_remap_moves_words_and_averages_for_new_ones():
    b = a_bundle()
    new = ['xxunk', 'xxpad', 'cart', 'whale', 'boat']
    state = remap_vocab(b.state, VOCAB, new)
    old, emb, bias = b.state['0.encoder.weight'], state['0.encoder.weight'], state['1.decoder.bias']
    for i, w in enumerate(new): torch.testing.assert_close(emb[i], old[VOCAB.index(w)] if w in VOCAB else old.mean(0))
    assert len(bias)==5 and torch.equal(b.state['0.encoder.weight'], old)
    # a hidden layer with as many rows as the vocabulary has words is left alone
    assert torch.equal(state['0.rnns.0.weight_hh_l0_raw'], b.state['0.rnns.0.weight_hh_l0_raw'])


def damage(path, what):
    "Spoil one file of a bundle"
    if what=='truncated': (path/'model.safetensors').write_bytes((path/'model.safetensors').read_bytes()[:-9])
    elif what=='pickle': (path/'model.safetensors').write_bytes(pickle.dumps({}))
    elif what=='words': (path/'vocab.json').write_text(json.dumps(VOCAB[::-1]))
    elif what=='json': (path/'config.json').write_text('{')
    elif what=='gone': (path/'vocab.json').unlink()
    else:
        c = json.loads((path/'config.json').read_text())
        (path/'config.json').write_text(json.dumps({**c, **what}))


@pytest.mark.parametrize('what', ['truncated', 'pickle', 'words', 'json', 'gone', dict(format=99), dict(kind='classifier'), dict(direction='bwd')], ids=str)
def test_damaged_bundles_are_refused(tmp_path, what):
    path = save_bundle(a_bundle(), tmp_path/'lm')
    damage(path, what)
    with pytest.raises((ValueError, FileNotFoundError)): load_bundle(path, 'lm', 'fwd')


@pytest.mark.parametrize('change', ['missing', 'extra', 'shape'])
def test_strict_names_and_shapes(change):
    state = dict(a_bundle().state)
    if change=='missing': del state['1.decoder.bias']
    elif change=='extra': state['2.more'] = torch.zeros(1)
    else: state['1.decoder.bias'] = torch.zeros(3)
    model = language_model()
    before = model_state(model)['0.encoder.weight'].clone()
    with pytest.raises(ValueError, match='decoder.bias|2.more'): load_state(model, state)
    assert torch.equal(model_state(model)['0.encoder.weight'], before)


CLIENT = """
import sys, torch
from fastai.data.external import URLs
URLs.WT103_FWD, URLs.WT103_BWD = sys.argv[1]+'/wt103-fwd.tgz', sys.argv[1]+'/wt103-bwd.tgz'
URLs.AG_NEWS = sys.argv[1]+'/ag_news_csv.tgz'
from ulmfit_ext.all import *
for d in ('fwd', 'bwd'):
    b = pretrained('wt103', d)
    print(d, b.direction, b.config['arch'], len(b.vocab), f"{b.state['1.decoder.bias'].sum():.4f}")
import pandas as pd
dls = TextCorpus.from_df(pd.DataFrame(dict(text=['the sailor saw the boat', 'the whale left']*20)), min_freq=1).lm_dls(bs=4, seq_len=8)
learn = finetune_lm(dls, 'wt103', epochs=1, progress=False)
emb, words = learn.model[0].encoder, learn.dls.vocab
print(tuple(emb.weight.shape)==(len(words), 8), learn.meta['arch'], learn.recipe.name)
df = paper_data('ag')
print(df.values.tolist())
"""


def test_downloads_from_a_server(tmp_path):
    "Archives of fastai's form, served on loopback: pretrained('wt103'), fine-tuning on it, and a task of the paper"
    www, home = tmp_path/'www', tmp_path/'home'
    www.mkdir()
    sums = {}
    for d in ('fwd', 'bwd'):
        folder = tmp_path/f'wt103-{d}'
        folder.mkdir()
        model = language_model()
        model[1].decoder.bias.data.uniform_()
        state = model.state_dict()
        # the published files list the undropped weights as well
        for i in range(3): state[f'0.rnns.{i}.module.weight_hh_l0'] = state[f'0.rnns.{i}.weight_hh_l0_raw'].clone()
        torch.save(state, folder/f'lstm_{d}.pth')
        (folder/'itos_wt103.pkl').write_bytes(pickle.dumps(VOCAB))
        with tarfile.open(www/f'wt103-{d}.tgz', 'w:gz') as t: t.add(folder, arcname=f'wt103-{d}')
        sums[d] = model[1].decoder.bias.sum().item()
    ag = tmp_path/'ag_news_csv'
    ag.mkdir()
    for f in ('train', 'test'): (ag/f'{f}.csv').write_text(f'"3","Shares, up","{f} text"\n"4","NaN","more"\n')
    with tarfile.open(www/'ag_news_csv.tgz', 'w:gz') as t: t.add(ag, arcname='ag_news_csv')

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(www)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        res = subprocess.run([sys.executable, '-W', 'ignore', '-c', CLIENT, f'http://127.0.0.1:{server.server_port}'], capture_output=True, text=True,
                             env={**os.environ, 'FASTAI_HOME':str(home), 'no_proxy':'127.0.0.1'}, cwd=tmp_path)
    finally: server.shutdown()
    assert res.returncode==0, res.stderr[-3000:]
    lines = res.stdout.splitlines()
    for d in ('fwd', 'bwd'): assert f"{d} {d} {ARCH} {len(VOCAB)} {sums[d]:.4f}\n" in res.stdout
    assert f"True {ARCH} paper\n" in res.stdout
    assert lines[-1].endswith(str([['Shares, up train text', 'Business', 'train'], ['NaN more', 'Sci/Tech', 'train'], ['Shares, up test text', 'Business', 'test'], ['NaN more', 'Sci/Tech', 'test']]))
