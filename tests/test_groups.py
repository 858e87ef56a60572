import numpy as np
import pytest
from fastai.callback.progress import *
from fastai.callback.core import Callback
from ulmfit_ext.classifier import classifier_learner, finetune_classifier
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.lm import lm_learner
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.train.recipe import RECIPES, Recipe
from ulmfit_ext.train.run import fit_phase
from ulmfit_ext.train.unfreeze import group_table
from conftest import TINY


@pytest.mark.parametrize('size', [TINY, None], ids=['tiny', 'paper'])
def test_each_parameter_once_and_neighbours_at_2_6(df, size):
    corpus = TextCorpus.from_df(df, label_col='label')
    lm = lm_learner(corpus.lm_dls(bs=4), config=size)
    clas = classifier_learner(corpus.clas_dls(), lm)
    for learn, phase, groups, tensors in ((lm, RECIPES['paper'].lm, 4, 14), (clas, RECIPES['paper'].clas, 5, 19)):
        learn.create_opt()
        ids = [id(p) for ps in learn.opt.param_lists for p in ps]
        assert len(ids)==len(set(ids))==tensors and set(ids)=={id(p) for p in learn.model.parameters()}
        table = group_table(learn)
        assert len(table)==groups and table.parameters.sum()==sum(p.numel() for p in learn.model.parameters())
        for stage in phase.stages(groups): np.testing.assert_allclose(np.divide(stage.lrs[1:], stage.lrs[:-1]), 2.6)


class Watch(Callback):
    "What moved in each fit, by group"
    def __init__(self): self.moved = []
    def before_fit(self): self.old = [[p.detach().clone() for p in ps] for ps in self.opt.param_lists]
    def after_fit(self):
        self.moved.append([any(not p.equal(q) for p, q in zip(ps, old)) for ps, old in zip(self.opt.param_lists, self.old)])


@pytest.mark.parametrize('unfreeze,want', [
    ('gradual', [[0,0,0,0,1], [0,0,0,1,1], [0,0,1,1,1], [0,1,1,1,1], [1]*5]),
    ('chain_thaw', [[0,0,0,0,1], [1,0,0,0,0], [0,1,0,0,0], [0,0,1,0,0], [0,0,0,1,0], [1]*5]),
    ('last', [[0,0,0,0,1]]), ('full', [[1]*5])])
def test_only_unfrozen_groups_move(df, unfreeze, want):
    recipe = RECIPES['paper'].replace(clas=dict(unfreeze=unfreeze, epochs=len(want), wd=.1, decouple_wd=True))
    learn = classifier_learner(TextCorpus.from_df(df, label_col='label').clas_dls(), None, recipe.clas, config=TINY)
    watch = Watch()
    fit_phase(learn, recipe.clas, cbs=watch, progress=False)
    assert watch.moved==[[bool(o) for o in row] for row in want]


def test_recipes_hold_the_tables_numbers():
    "Every number of the three recipes, written out a second time"
    p, s, f = (RECIPES[k] for k in ('paper', 'scripts', 'fastai'))
    assert (p.lm.lr, p.lm.factor, p.clas.lr, p.clas.factor)==(.004, 2.6, .01, 2.6)
    np.testing.assert_allclose(s.lm.stages(4)[0].lrs, np.array([1/6, 1/3, 1, 1/2])*.004)
    assert [st.lrs for st in f.lm.stages(4)]==[(1e-2,)*4, (1e-3,)*4]
    np.testing.assert_allclose([st.lrs[-1] for st in f.clas.stages(5)], [2e-2, 1e-2, 5e-3, 1e-3])
    for ph in (p.lm, p.clas): assert (ph.schedule, ph.cut_frac, ph.ratio)==('stlr', .1, 32)
    assert (s.lm.cut_frac, s.lm.ratio, s.clas.cut_frac, s.clas.ratio)==(.1, 32, (1/3, 1/3, 1/8), 8)
    assert f.lm.schedule==f.clas.schedule=='one_cycle'
    assert [len(st.groups) for st in p.clas.stages(5)]==[1, 2, 3, 4, 5]
    assert [len(st.groups) for st in s.clas.stages(5)]==[1, 2, 5]
    assert [len(st.groups) for st in f.clas.stages(5)]==[1, 2, 3, 5]
    assert [(r.lm.mom, r.lm.sqr_mom, r.clas.mom, r.clas.sqr_mom) for r in (p, s)]==[(.7, .99)*2, (.8, .99)*2]
    assert [(r.lm.wd, r.lm.decouple_wd, r.clas.wd, r.clas.decouple_wd) for r in (s, f)]==[(1e-7, False, 1e-6, False), (.1, True, .01, True)]
    assert [(r.lm.clip, r.clas.clip) for r in (p, s, f)]==[(.25, .25), (.3, 25.), (None, None)]
    drops = lambda ph: (ph.output_p, ph.input_p, ph.weight_p, ph.embed_p, ph.hidden_p)
    assert drops(p.lm)==drops(p.clas)==drops(s.clas)==(.4, .4, .5, .05, .3)
    assert drops(s.lm)==drops(f.lm)==(.1, .25, .2, .02, .15)
    np.testing.assert_allclose(drops(f.clas), np.array((.4, .4, .5, .05, .3))*.5)
    assert all(r.clas.head_p==(.1,) and r.clas.lin_ftrs==(50,) for r in (p, s, f))
    assert [(r.lm.seq_len, r.lm.vary_len) for r in (p, s, f)]==[(70, True), (70, True), (72, False)]
    assert [r.clas.max_len for r in (p, s, f)]==[1400, 1400, 1440]
    assert [(r.lm.bs, r.clas.bs) for r in (p, s, f)]==[(64, 64), (64, 32), (64, 64)]
    assert [(r.lm.epochs, r.clas.epochs) for r in (p, s, f)]==[(15, 50), (50, 52), (11, 5)]
    assert all(ph.alpha==2 and ph.beta==1 for r in (p, s, f) for ph in (r.lm, r.clas))
    assert [(r.lm.formula, r.clas.formula, r.lm.keep, r.clas.keep) for r in (p, s)]==[('paper', 'paper', 'last', 'last'), ('scripts', 'scripts', 'last', 'last')]
    d = RECIPES['default']
    assert (d.lm.formula, d.lm.keep, d.clas.keep)==('scripts', 'best', 'last')
    for r in RECIPES.values(): assert Recipe.from_json(r.to_json())==r


def test_many_documents_have_fewer_epochs(df):
    "in one call and on loaders alike, but not where epochs are given"
    recipe = RECIPES['default'].replace(clas=dict(bs=4, unfreeze='full', max_docs=6*len(df)), lm=dict(epochs=1))
    dls = TextCorpus.from_df(df, label_col='label', valid_pct=0).clas_dls(4)
    how = dict(config=TINY, progress=False)
    assert len(finetune_classifier(dls, None, recipe, **how).epochs)==6
    assert len(finetune_classifier(dls, None, recipe, 7, **how).epochs)==7
    kw = dict(recipe=recipe, pretrained=None, valid_pct=0, lm_kwargs=dict(config=TINY), progress=False, rival=False, backwards=False)
    assert len(ulmfit(df, **kw).fwd.epochs)==6
    assert len(ulmfit(df, **kw, clas_kwargs=dict(epochs=7)).fwd.epochs)==7
    assert recipe.replace(clas=dict(max_docs=1)).clas.for_docs(10).epochs==5 and recipe.replace(clas=dict(epochs=3)).clas.for_docs(10**9).epochs==3
