import os
import pytest
import torch
from ulmfit_ext.data.samples import notes

torch.set_num_threads(1) # two test processes at a time would hold each other up


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    "Every test has a cache folder of its own"
    monkeypatch.setenv('ULMFIT_CACHE', str(tmp_path_factory.mktemp('cache')))


@pytest.fixture
def df(): return notes(80)


TINY = dict(emb_sz=16, n_hid=24, n_layers=3)


@pytest.fixture
def data_folder():
    "The folder of real corpora, where there is one"
    folder = os.environ.get('ULMFIT_DATA')
    if not folder or not os.path.isdir(folder): pytest.skip('no real corpora here: set ULMFIT_DATA to their folder')
    return folder
