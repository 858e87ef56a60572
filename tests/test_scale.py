"Scoring by Ray gives what the predictor gives; without Ray, a sentence"
import sys
import pandas as pd
import pytest
from ulmfit_ext.all import *
from ulmfit_ext.data.samples import notes
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.scale import connect, score
from conftest import TINY


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    d = tmp_path_factory.mktemp('scale')/'model'
    r = get_recipe('default').replace(name='t', lm=dict(epochs=1, bs=4, seq_len=20), clas=dict(epochs=5, bs=10, lr=2e-2))
    ulmfit(notes(100), recipe=r, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.5, run_dir=d, progress=False)
    return d


def test_without_ray(model, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ImportError, match=r"pip install 'ulmfit_ext\[ray\]'"): score('a.csv', model)


def test_a_cluster_that_does_not_answer(model, tmp_path):
    pytest.importorskip('ray')
    with pytest.raises(ConnectionError, match="no Ray cluster answers at '127.0.0.1:9'.*leave address out"): connect('127.0.0.1:9')


def test_answers_are_the_predictors(model, tmp_path):
    ray = pytest.importorskip('ray')
    df = notes(2500).assign(n=range(2500))
    for i in range(0, 2500, 500): df[i:i+500].to_csv(tmp_path/f'{i:04}.csv', index=False)
    try:
        got = score(sorted(tmp_path.glob('*.csv')), model, bs=200, top=1).to_pandas().sort_values('n', ignore_index=True)
        with pytest.raises(ValueError, match=r"the files end in \['.txt'\]"): score('a.txt', model)
        with pytest.raises(Exception, match="no column 'review'"): score(tmp_path/'0000.csv', model, text_col='review').to_pandas()
    finally: ray.shutdown()
    want = load_predictor(model).to_frame(df.text, top=1)
    pd.testing.assert_frame_equal(got[['text', 'label', 'n']].astype({'text':object, 'label':object}), df.astype({'text':object, 'label':object}), check_dtype=False)
    assert got.prediction.tolist()==want.prediction.tolist() and (got.p_1.astype(float).round(5)==want.p_1.round(5)).all()
