"scikit-learn's own checks. Most give numbers, so `OnNumbers` writes each row as words first"
import os
import pickle
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data
from conftest import TINY
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import notes
from ulmfit_ext.infer.estimator import ULMFiTClassifier
from ulmfit_ext.train.recipe import get_recipe

SMALL = dict(pretrained=None, config=dict(emb_sz=8, n_hid=8, n_layers=1), lm_epochs=1, epochs=1, backwards=False, valid_pct=0)


R = get_recipe('default').replace(lm=dict(bs=4, seq_len=20), clas=dict(epochs=6, bs=10, lr=2e-2))


class OnNumbers(ULMFiTClassifier):
    "Rows of numbers as texts: two words for each number"
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, False, True
        return tags
    def words(self, X): return [' '.join(f'c{j} is {v:.1f}' for j, v in enumerate(row)) for row in X]
    def fit(self, X, y):
        X, y = validate_data(self, X, y)
        return super().fit(self.words(X), y)
    def predict_proba(self, X):
        from sklearn.utils.validation import check_is_fitted
        check_is_fitted(self, 'bundles_')
        return super().predict_proba(self.words(validate_data(self, X, reset=False)))


WHY = {'check_classifiers_train': 'asks for 83% right answers of a model with 8 cells after one epoch'}


@pytest.fixture(autouse=True)
def cache(tmp_path): os.environ['ULMFIT_CACHE'] = str(tmp_path)


@pytest.mark.filterwarnings('ignore')
def test_checks_of_scikit_learn():
    res = check_estimator(OnNumbers(**SMALL), expected_failed_checks=WHY, on_fail=None)
    failed = {r['check_name']:r['exception'] for r in res if r['status']=='failed'}
    assert not failed, failed
    assert sum(r['status']=='passed' for r in res)>=50


@pytest.mark.filterwarnings('ignore')
def test_checks_on_texts():
    res = check_estimator(ULMFiTClassifier(**SMALL), on_fail=None, on_skip=None)
    assert not [r for r in res if r['status']=='failed']


def test_estimators_of_scikit_learn_take_it(tmp_path):
    df = notes(120)
    clf = ULMFiTClassifier(**{**SMALL, 'config':dict(emb_sz=16, n_hid=24, n_layers=2), 'epochs':12, 'recipe':R, 'drop_mult':.2})
    pipe = make_pipeline(FunctionTransformer(lambda texts: [t.upper() for t in texts]), clf).fit(df.text, df.label)
    assert pipe.score(df.text, df.label)>.8
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    both = VotingClassifier([('ulmfit', clf), ('words', words)], voting='soft').fit(df.text, df.label)
    assert both.score(df.text, df.label)>.8
    again = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(again.predict_proba(df.text), both.predict_proba(df.text))


def test_folds_share_a_language_model_that_saw_no_label(tmp_path, monkeypatch):
    df, seen = notes(90), []
    real = TextCorpus.from_df.__func__
    monkeypatch.setattr(TextCorpus, 'from_df', classmethod(lambda cls, d, *args, **kw: seen.append(d) or real(cls, d, *args, **kw)))
    clf = ULMFiTClassifier(**{**SMALL, 'config':TINY}).fit_lm(df.text, tmp_path/'lm')
    assert list(seen.pop())==['text'] # no labels
    scores = cross_val_score(clf, df.text, df.label, cv=3)
    assert len(scores)==3 and [len(d) for d in seen]==[60]*3 # nothing but the training part of each fold
    monkeypatch.setattr('ulmfit_ext.one_call.finetune_lm', None) # is not called
    clone(clf).fit(df.text, df.label)


@pytest.mark.parametrize('change, says', [(dict(lm='none'), "no pretrained model 'none'"), (dict(recipe='x'), "'x'"), (dict(backwards=3), 'expected')])
def test_a_wrong_parameter_is_found_in_fit(change, says, tmp_path):
    df = notes(40)
    clf = ULMFiTClassifier(**{**SMALL, **change})
    with pytest.raises(ValueError, match=says): clf.fit(df.text, df.label)
