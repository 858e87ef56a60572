"Files that were damaged or forged, disks that fill up, many threads"
import builtins
import errno
import io
import os
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import pytest
import torch
from conftest import TINY
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import fetch, notes
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.models.bundle import load_bundle, save_bundle
from ulmfit_ext.train.precision import AutoPrecision
from ulmfit_ext.train.recipe import get_recipe
from ulmfit_ext.train.run import open_run, read_checkpoint, write_checkpoint

SHORT = get_recipe('paper').replace(name='short', pre=dict(lr=1e-2, seq_len=10, bs=8), lm=dict(epochs=1), clas=dict(epochs=5, lr=2e-2, bs=10))
sys.path.insert(0, str(Path(__file__).parent/'long'))
OPTIONS = dict(recipe=SHORT, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.3, progress=False)


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    d = tmp_path_factory.mktemp('run')/'run'
    ulmfit(notes(60), **OPTIONS, run_dir=d)
    return d


def test_forged_and_damaged_files():
    from fuzz import fuzz
    res = fuzz(1000, seed=0)
    assert all(r['refused']>50 and r['loaded']>3 for r in res.values()), res


def test_a_folder_of_a_pair_that_is_a_link(run_dir, tmp_path):
    (tmp_path/'pair').mkdir()
    (tmp_path/'pair'/'fwd').symlink_to(run_dir/'model'/'fwd')
    with pytest.raises(ValueError, match='is a link to another folder'): load_predictor(tmp_path/'pair')


class FailingDisk:
    "The `n`th write, and every later one, fails with `code`"
    def __init__(self, monkeypatch, n, code):
        self.n, self.code, real = n, code, builtins.open
        def count():
            self.n -= 1
            if self.n<=0: raise OSError(self.code, os.strerror(self.code))
        def opened(file, mode='r', *args, **kwargs):
            f = real(file, mode, *args, **kwargs)
            if not set('wax+') & set(mode) or not isinstance(file, (str, os.PathLike)) or str(file).startswith('/dev'): return f
            write = f.write
            def checked(data):
                count()
                return write(data)
            try: f.write = checked
            except AttributeError: # a file of C: wrapped
                return _Wrapped(f, checked)
            return f
        monkeypatch.setattr(builtins, 'open', opened)
        monkeypatch.setattr('io.open', opened)


class _Wrapped:
    def __init__(self, f, write): self.__dict__.update(f=f, write=write)
    def __getattr__(self, k): return getattr(self.f, k)
    def __enter__(self): return self
    def __exit__(self, *args): self.f.close()
    def __iter__(self): return iter(self.f)


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EIO])
def test_every_write_of_an_export_fails_in_turn(run_dir, tmp_path, monkeypatch, code):
    pred = load_bundle(run_dir/'model'/'fwd')
    (tmp_path/'out').mkdir()
    for n in range(1, 50):
        with monkeypatch.context() as m:
            FailingDisk(m, n, code)
            try: save_bundle(pred, tmp_path/'out'/'b')
            except OSError as e: assert e.errno==code
            else: break
        assert not list((tmp_path/'out').iterdir()), n
    assert 3<=n<50 and load_bundle(tmp_path/'out'/'b').vocab==pred.vocab


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EIO])
def test_every_write_of_a_checkpoint_fails_in_turn(tmp_path, monkeypatch, code):
    file = tmp_path/'state'
    write_checkpoint(file, dict(x=0), {})
    for n in range(1, 50):
        with monkeypatch.context() as m:
            FailingDisk(m, n, code)
            try: write_checkpoint(file, dict(x=n), dict(model=dict(y=torch.arange(9))))
            except OSError as e: assert e.errno==code
            else: break
        assert read_checkpoint(file)==(dict(x=0), {}) and len(list(tmp_path.iterdir()))==1
    assert read_checkpoint(file)[0]['x']==n>1


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EIO])
def test_every_write_of_a_cache_fails_in_turn(tmp_path, monkeypatch, code):
    df, cache = notes(40), tmp_path/'cache'
    monkeypatch.setenv('ULMFIT_CACHE', str(cache))
    for n in range(1, 500):
        with monkeypatch.context() as m:
            FailingDisk(m, n, code)
            try: corpus = TextCorpus.from_df(df)
            except OSError: pass
            else: break
        assert not list(cache.iterdir()), n
    assert 3<=n<500 and corpus.tokens(3)==TextCorpus.from_df(df).tokens(3)


def test_many_threads_get_the_answers_of_one(run_dir):
    pred, texts = load_predictor(run_dir/'model'), notes(200, 5).text.tolist()
    want = [pred.predict_proba(texts[i:i+10], progress=False) for i in range(0, 200, 10)]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            got = list(pool.map(lambda i: pred.predict_proba(texts[i:i+10], progress=False), range(0, 200, 10)))
            for a, b in zip(want, got): np.testing.assert_array_equal(a, b)


def test_two_runs_in_one_folder(tmp_path):
    with open_run(tmp_path/'run', SHORT):
        with pytest.raises(BlockingIOError, match='another process is training'): ulmfit(notes(60), **OPTIONS, run_dir=tmp_path/'run', resume=True)


def test_a_rate_that_is_too_high(tmp_path):
    with pytest.raises(FloatingPointError, match='in step .* at a rate of .*: train with a lower lr'):
        ulmfit(notes(60), **{**OPTIONS, 'recipe':SHORT.replace(pre=dict(lr=1e30, clip=None), lm=dict(epochs=5))}, cbs=AutoPrecision('fp32'), run_dir=tmp_path/'run')


@pytest.mark.parametrize('what', ['outside', 'link', 'absolute', 'good'])
def test_archives_stay_in_their_folder(what, tmp_path):
    archive, bad = tmp_path/'model.tgz', tmp_path/'evil.txt'
    with tarfile.open(archive, 'w:gz') as t:
        def member(name, **kw):
            m = tarfile.TarInfo(name)
            m.size = 0 if kw else 4
            for k, v in kw.items(): setattr(m, k, v)
            t.addfile(m, None if kw else io.BytesIO(b'text'))
        member('model/words.txt')
        if what=='outside': member('../'*12+str(bad)[1:])
        if what=='absolute': member(str(bad))
        if what=='link': member('model/out', type=tarfile.SYMTYPE, linkname=str(tmp_path))
    get = lambda: fetch(archive.as_uri(), archive=tmp_path/'archives', data=tmp_path/'data', base=tmp_path)
    before = vars(tarfile.TarFile).get('extraction_filter')
    if what in ('outside', 'link'):
        with pytest.raises(ValueError, match='outside'): get()
        assert not list((tmp_path/'data').iterdir())
    else: assert (get()/'words.txt').exists() or what=='absolute'
    assert not bad.exists() and vars(tarfile.TarFile).get('extraction_filter') is before
