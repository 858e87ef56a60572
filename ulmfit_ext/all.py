"Everything a notebook needs: `from ulmfit_ext.all import *`. What else a module has is imported from it by name"
from ulmfit_ext.train.schedule import STLR, plot_lrs, stlr
from ulmfit_ext.train.groups import discriminative_lrs, group_table, n_groups
from ulmfit_ext.train.unfreeze import Stage, chain_thaw, gradual, plot_stages # `last` would hide fastcore's
from ulmfit_ext.train.recipe import PRETRAINING, RECIPES, FusedAdam, Phase, Recipe, fit_phase, get_recipe, recipe_table
from ulmfit_ext.train.state import DamagedFile
from ulmfit_ext.train.checkpoint import Checkpoint
from ulmfit_ext.train.precision import AutoPrecision, deterministic, fast_bf16
from ulmfit_ext.train.run import FreeMemory, RunLog, StopDiverging
from ulmfit_ext.data.tokenize import Encoder, TextTokenizer, tokenize
from ulmfit_ext.data.tables import read_table
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.loaders import CorpusLMDL, DocumentDL, mix_documents, vocab_of
from ulmfit_ext.data.samples import PACKAGES, PAPER_TASKS, docstrings, notes, paper_task, passages
from ulmfit_ext.models.encoder import DocumentEncoder, PooledClassifier, text_classifier
from ulmfit_ext.models.loss import BlockLoss, TokenPerplexity, linear_cross_entropy, sampled_cross_entropy
from ulmfit_ext.models.weights import PRETRAINED, Bundle, fastai_bundle, last_metrics, load_bundle, pretrained, remap_vocab, save_bundle
from ulmfit_ext.lm import SIZES, direction_of, finetune_lm, lm_learner, pretrain_lm
from ulmfit_ext.generate import generate
from ulmfit_ext.classifier import classifier_learner, finetune_classifier
from ulmfit_ext.ensemble import Ensemble, error_table
from ulmfit_ext.pipeline import ulmfit
from ulmfit_ext.infer.predict import Predictor, load_predictor
