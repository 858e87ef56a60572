"Both directions at once: the same models as one after the other, and what ends one ends both"
import json
import os
import signal
import subprocess
import sys
import time
import pytest
import torch
from fastai.callback.tracker import EarlyStoppingCallback
from safetensors.torch import load_file
from ulmfit_ext.all import *
from ulmfit_ext.data.samples import notes
from ulmfit_ext.train.parallel import side_by_side
from conftest import TINY

SHORT = get_recipe('paper').replace(name='short', lm=dict(epochs=1, bs=8, seq_len=20), clas=dict(epochs=4, bs=10, lr=2e-2))
KW = dict(recipe=SHORT, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.3, progress=False, rival=False)


def models(run): # by their place in the folder
    return {p.relative_to(run):load_file(p) for p in sorted(run.glob('*/*/model.safetensors'))}


def same(a, b): return a.keys()==b.keys() and all(torch.equal(x, b[f][k]) for f in a for k, x in a[f].items())


def in_a_shell(folder, out, *args):
    code = "from ulmfit_ext.cli import app; app()"
    start = [sys.executable, '-c', code, 'train', 'train.csv', '--pretrained', 'none', '--sizes', '16,24,3', '--recipe', 'short.json', '--out', out, *args]
    return subprocess.Popen(start, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def wait_until(true, seconds=120):
    end = time.monotonic()+seconds
    while not true():
        assert time.monotonic()<end, 'nothing happened'
        time.sleep(.05)


def group(pgid):
    "Processes of a group that are alive"
    def state(pid):
        try:
            with open(f'/proc/{pid}/stat') as f: rest = f.read().rpartition(')')[2].split()
        except OSError: return False
        return rest[2]==str(pgid) and rest[0]!='Z'
    return [p for p in os.listdir('/proc') if p.isdigit() and state(p)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    d = tmp_path_factory.mktemp('parallel')
    notes(100).to_csv(d/'train.csv', index=False)
    (d/'short.json').write_text(SHORT.replace(lm=dict(epochs=40), clas=dict(epochs=40)).to_json())
    return d


def test_answers_are_those_of_one_after_the_other(tmp_path, capsys):
    df = notes(80)
    apart, one = (ulmfit(df, run_dir=tmp_path/k, parallel=k=='apart', **KW) for k in ('apart', 'one'))
    assert same(models(tmp_path/'apart'/'model'), models(tmp_path/'one'/'model'))
    assert (apart.predict_proba(df.text)==one.predict_proba(df.text)).all() and capsys.readouterr().out==''
    assert apart.fwd.epochs.equals(one.fwd.epochs) and len(apart.lms['bwd'].history)==len(one.lms['bwd'].history)>0
    kept = ulmfit(df, parallel=True, **KW) # in memory
    assert (kept.predict_proba(df.text)==one.predict_proba(df.text)).all()


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs /proc')
def test_killed_and_resumed(folder):
    p = in_a_shell(folder, 'whole', '--parallel')
    out, err = p.communicate(timeout=300)
    assert p.returncode==0 and 'fwd  ' in out and 'bwd  ' in out and 'Both directions train at once' in out, err
    p = in_a_shell(folder, 'run', '--parallel')
    wait_until(lambda: all((folder/'run'/'lm'/d/'checkpoint.safetensors').exists() for d in ('fwd', 'bwd')))
    os.kill(p.pid, signal.SIGKILL) # the command alone
    p.wait()
    wait_until(lambda: not group(p.pid), 30) # and the others end by themselves
    assert json.loads((folder/'run'/'run.json').read_text())['threads']==1
    p = in_a_shell(folder, 'run', '--resume', '--no-parallel')
    assert p.wait(300)==0, p.stderr.read()
    assert same(models(folder/'whole'/'model'), models(folder/'run'/'model'))


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs /proc')
def test_ctrl_c_ends_both(folder):
    p = in_a_shell(folder, 'stopped', '--parallel', '--epochs', '2000')
    wait_until(lambda: all((folder/'stopped'/'lm'/d/'checkpoint.safetensors').exists() for d in ('fwd', 'bwd')))
    os.kill(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode==130 and 'Traceback' not in err and err.rstrip().endswith('--resume'), err
    wait_until(lambda: not group(p.pid), 30)


def test_own_callbacks_are_refused():
    for kw in (dict(cbs=EarlyStoppingCallback()), dict(clas_kwargs=dict(cbs=[EarlyStoppingCallback()]))):
        with pytest.raises(ValueError, match="EarlyStoppingCallback of yours can't report"): ulmfit(notes(80), parallel=True, **KW, **kw)


def test_an_error_in_one_ends_both(tmp_path):
    with pytest.raises(FloatingPointError, match='lower lr'):
        ulmfit(notes(80), parallel=True, run_dir=tmp_path/'run', **{**KW, 'recipe':SHORT.replace(clas=dict(lr=1e30, clip=None))})


def test_a_killed_process_is_a_sentence():
    start = time.monotonic()
    with pytest.raises(ChildProcessError, match='one of the processes was killed'):
        side_by_side(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name=='a' else time.sleep(60), 'ab', 1)
    assert time.monotonic()-start<50
