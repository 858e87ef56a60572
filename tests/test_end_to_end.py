import pickle
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from fastai.callback.progress import *
from fastai.learner import load_learner
from fastai.metrics import F1Score, accuracy
from fastai.text.data import TextDataLoaders
from conftest import TINY
from ulmfit_ext.classifier import finetune_classifier
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import notes
from ulmfit_ext.ensemble import Ensemble
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.predict import load_predictor, bundle_predictor
from ulmfit_ext.lm import finetune_lm
from ulmfit_ext.models.bundle import load_bundle
from ulmfit_ext.train.precision import AutoPrecision
from ulmfit_ext.train.recipe import get_recipe

SHORT = get_recipe('paper').replace(name='short', pre=dict(lr=1e-2, seq_len=20), lm=dict(epochs=2), clas=dict(epochs=6, lr=2e-2, bs=10))
FULL = get_recipe('default').replace(clas=dict(unfreeze='full'))


def run(df, **kw): return ulmfit(df, recipe=SHORT, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.3, cbs=AutoPrecision('fp32'), progress=False, **kw)


def test_the_same_seed_gives_the_same_answers(tmp_path):
    df = notes(80)
    a, b = run(df, run_dir=tmp_path/'a'), run(df)
    assert np.array_equal(a.predict_proba(df.text), b.predict_proba(df.text))
    pd.testing.assert_frame_equal(a.errors(), b.errors())
    np.testing.assert_allclose(load_predictor(tmp_path/'a'/'model').predict_proba(df.text, progress=False), a.predict_proba(df.text), atol=1e-5)


def test_a_learner_that_has_answered_is_saved_with_the_metrics_of_its_training(tmp_path):
    learn = run(notes(60), backwards=False, run_dir=tmp_path/'run').learns['fwd']
    learn.predict('a boat')
    kept = load_bundle(tmp_path/'run'/'model'/'fwd').config['metrics']
    assert 0<=kept['accuracy']<=1 and learn.bundle().config['metrics']==kept


def test_an_exported_learner_has_the_model_and_no_documents(tmp_path):
    df = notes(200)
    clf = run(df, backwards=False)
    for learn, text in ((clf.learns['fwd'], 'a boat sails'), (clf.lms['fwd'], 'a boat')):
        learn.export(tmp_path/'export.pkl')
        other = load_learner(tmp_path/'export.pkl')
        assert len(other.dls.train_ds)==len(other.dls.train_ds.tokenizer.corpus)==0 and len(learn.dls.train_ds.tokenizer.corpus)==len(df)
        assert all(getattr(f, 'corpus', None) is None or not len(f.corpus) and f.corpus.labels is None for tl in other.dls.train_ds.tls for f in tl.tfms.fs)
        if learn is clf.learns['fwd']: assert other.predict(text)[0]==learn.predict(text)[0]
        else: assert other.predict(text, n_words=3, no_bar=True)


def test_answers_do_not_depend_on_the_batch():
    df, texts = notes(80), notes(40, seed=5).text.tolist() + ['', 'boat', 'zzz '*300]
    clf = run(df, backwards=True)
    one_by_one = np.concatenate([clf.predict_proba([t]) for t in texts])
    perm = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_allclose(clf.predict_proba([texts[i] for i in perm]), one_by_one[perm], atol=1e-5)


def test_a_metric_that_is_no_number(tmp_path):
    "It is shown, and kept out of what JSON holds"
    df = notes(60)
    corpus = TextCorpus.from_df(df, label_col='label')
    learn = finetune_classifier(corpus.clas_dls(10), None, config=TINY, epochs=1, metrics=[accuracy, F1Score(average=None)], run_dir=tmp_path/'run')
    assert set(learn.meta['metrics'])=={'train_loss', 'valid_loss', 'accuracy'}


def test_all_labels_to_train_on(tmp_path):
    "Stock loaders without a validation part, and with fewer documents than a batch has"
    df = notes(60)
    lm = finetune_lm(TextDataLoaders.from_df(df, text_col='text', is_lm=True, seq_len=10, bs=8, valid_pct=0), None, epochs=1, config=TINY)
    dls = TextDataLoaders.from_df(df, text_col='text', label_col='label', text_vocab=lm.dls.vocab, bs=64, valid_pct=0)
    def train(**kw): return finetune_classifier(dls, lm, epochs=5, run_dir=tmp_path/'run', **kw)
    ens = Ensemble(train())
    assert len(dls.valid_ds)==0 and len(dls.train)==0 and len(ens.learns['fwd'].dls.train)==1
    assert Ensemble(train(resume=True)).predict(df.text)==ens.predict(df.text)==load_predictor(tmp_path/'run').predict(df.text, progress=False)
    with pytest.raises(ValueError, match='no validation documents'): ens.errors()


@pytest.mark.parametrize('task', ['multi', 'one-hot', 'regression', 'whole numbers', 'integers'])
def test_other_targets(task, tmp_path):
    df = notes(60)
    east = np.arange(60)%3==0
    kw, df = {'multi':(dict(label_delim=';'), df.assign(label=df.label+np.where(east, ';east', ''))),
              'one-hot':(dict(label_col=['sea', 'east']), df.assign(sea=(df.label=='sea')*1, east=east*1)),
              'regression':({}, df.assign(label=np.where(df.label=='sea', 1.5, -.5))),
              'whole numbers':(dict(regression=True), df.assign(label=(df.label=='sea')*3+1)),
              'integers':({}, df.assign(label=(df.label=='sea')*3+1))}[task]
    clf = run(df, backwards=False, run_dir=tmp_path/'run', **kw)
    pred = load_predictor(tmp_path/'run'/'model')
    assert pred.predict(df.text[:7], progress=False)==pytest.approx(clf.predict(df.text[:7]), abs=1e-4) if clf.labels is None else \
           pred.predict(df.text[:7], progress=False)==clf.predict(df.text[:7])
    want = {'multi':['east', 'land', 'sea'], 'one-hot':['sea', 'east'], 'regression':None, 'whole numbers':None, 'integers':[1, 4]}[task]
    assert pred.labels==clf.labels==want
    assert np.isfinite(clf.errors().values).all()


def test_losses_without_an_activation():
    "torch's own give logits; the answers are probabilities all the same, and those of the exported model"
    for label, loss in ((notes(60).label, nn.CrossEntropyLoss()), (notes(60).label.map(lambda o: [o]), nn.BCEWithLogitsLoss())):
        corpus = TextCorpus.from_df(notes(60).assign(label=label), label_col='label', valid_pct=.3)
        ens = Ensemble(finetune_classifier(corpus.clas_dls(), None, epochs=1, lr=1e-2, config=TINY, loss_func=loss, recipe=FULL))
        probs = ens.predict_proba(notes(20, 2).text)
        assert probs.min()>=0 and (corpus.task=='multi' or np.allclose(probs.sum(1), 1))
        pred = bundle_predictor({'fwd':ens.fwd.bundle()})
        np.testing.assert_allclose(pred.predict_proba(notes(20, 2).text, progress=False), probs, atol=1e-5)
        again = pickle.loads(pickle.dumps(pred)) # for other processes
        assert np.array_equal(again.predict_proba(notes(20, 2).text, progress=False), pred.predict_proba(notes(20, 2).text, progress=False))


def test_numbers_from_numpy(tmp_path):
    "A range from a table's column, a seed from `arange`, and loaders with a time-out for workers that ours don't have"
    df = notes(60).assign(label=np.where(notes(60).label=='sea', 1.5, -.5))
    clf = run(df, backwards=False, run_dir=tmp_path/'run', seed=np.arange(3)[2], clas_kwargs=dict(y_range=(df.label.min(), df.label.max())))
    assert -.5<=np.min(clf.predict(df.text))<=np.max(clf.predict(df.text))<=1.5 and load_predictor(tmp_path/'run').task=='regression'
    before = clf.fwd.bundle()
    with torch.no_grad(): next(clf.fwd.model.parameters()).zero_()
    assert before.state['0.module.encoder.weight'].abs().sum()>0 # a copy
    dls = TextDataLoaders.from_df(notes(60), text_col='text', label_col='label', bs=10, num_workers=2, timeout=30)
    finetune_classifier(dls, None, epochs=1, lr=np.float32(.01), run_dir=tmp_path/'other', config=TINY, recipe=FULL)
