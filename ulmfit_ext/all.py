"Everything a notebook needs: `from ulmfit_ext.all import *`"
import warnings
with warnings.catch_warnings():
    warnings.simplefilter('ignore') # fastai's import warns of torch's future
    import fastai.text.all
from ulmfit_ext.plots import plot_losses
from ulmfit_ext.train.schedule import STLR, plot_lrs, stlr
from ulmfit_ext.train.unfreeze import Stage, chain_thaw, discriminative_lrs, gradual, group_table, plot_stages
from ulmfit_ext.train.recipe import RECIPES, FusedAdam, Phase, Recipe, get_recipe, recipe_table
from ulmfit_ext.train.run import fit_phase
from ulmfit_ext.train.precision import AutoPrecision
from ulmfit_ext.data.tokenize import Encoder, PieceTokenizer, tokenize
from ulmfit_ext.data.tables import read_table
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.loaders import mix_documents
from ulmfit_ext.data.samples import notes, paper_data, passages
from ulmfit_ext.models.encoder import text_classifier
from ulmfit_ext.models.loss import BlockLoss, TokenPerplexity
from ulmfit_ext.models.bundle import Bundle, load_bundle, pretrained, save_bundle
from ulmfit_ext.lm import finetune_lm, generate, lm_learner, pretrain_lm
from ulmfit_ext.classifier import classifier_learner, finetune_classifier
from ulmfit_ext.infer.predict import Predictor, error_table, load_predictor
from ulmfit_ext.infer.report import Report
from ulmfit_ext.ensemble import Ensemble
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.self_training import self_train
from ulmfit_ext.infer.estimator import ULMFiTClassifier
from ulmfit_ext.infer.hub import from_hub
from ulmfit_ext.experiments import ablate, learning_curve
del warnings, fastai
