"Everything a notebook needs: `from ulmfit_ext.all import *`"
from ulmfit_ext.train.schedule import *
from ulmfit_ext.train.groups import *
from ulmfit_ext.train.unfreeze import *
from ulmfit_ext.train.recipe import *
from ulmfit_ext.train.precision import *
from ulmfit_ext.data.tokenize import *
from ulmfit_ext.data.corpus import *
from ulmfit_ext.data.loaders import *
from ulmfit_ext.data.samples import *
from ulmfit_ext.models.encoder import *
from ulmfit_ext.models.loss import *
from ulmfit_ext.models.weights import *
from ulmfit_ext.lm import *
from ulmfit_ext.classifier import *
from ulmfit_ext.ensemble import *
from ulmfit_ext.pipeline import *
from ulmfit_ext.infer.predict import *
