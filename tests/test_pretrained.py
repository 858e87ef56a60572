"The language models that come with the package"
import subprocess
import sys
from pathlib import Path
import pandas as pd
import pytest
import torch
from conftest import TINY
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import notes
from ulmfit_ext.lm import finetune_lm, lm_learner
from ulmfit_ext.models.bundle import pretrained
from ulmfit_ext.train.precision import AutoPrecision

ROOT = Path(__file__).parents[1]
# written for this test, in the manner of what the models have read
ENGLISH = """The town lies on the northern bank of the river, some twelve miles from the coast. It was founded in the twelfth century and was an important market
for wool until the railway came in 1848. The population was 9,412 at the last census. The church of St. Mary, which was built between 1310 and 1352, stands on a hill
above the old bridge. During the Second World War the town was bombed twice, and most of the houses near the station were destroyed. They were rebuilt in the 1950s.
After the war, she returned to London, where she worked as a teacher and wrote her first novel. It was published in 1951 and received good reviews. The film of the
same name, directed by her brother, was released two years later. In 1963 she was elected a member of the academy. She died at her home on 4 March 1988.
The species was first described by a German botanist in 1821. It is a small tree with white flowers, and is found in the forests of Brazil and Argentina. The leaves
are used in traditional medicine. The band released their third album in May 2004. It reached number seven on the charts and sold more than 200,000 copies in the
first week. The team won the league in 1978, but lost the final of the cup to their rivals. He scored twenty goals in the season and was named player of the year."""


@pytest.fixture(scope='module')
def pair(): return {k:pretrained('mini', k) for k in ('fwd', 'bwd')}


def test_a_pair(pair):
    assert pair['fwd'].vocab==pair['bwd'].vocab and pair['fwd'].config['tokenizer']==pair['bwd'].config['tokenizer']
    assert all(b.direction==k and {v.dtype for v in b.state.values()}=={torch.float32} for k, b in pair.items())
    assert sum(f.stat().st_size for f in (ROOT/'ulmfit_ext'/'pretrained'/'mini').rglob('*') if f.is_file())<=45e6


def perplexity(bundle, text):
    df = pd.DataFrame(dict(text=['nothing to train on '*9, text], valid=[False, True]))
    dls = TextCorpus.from_df(df, valid_col='valid', vocab=bundle.vocab).lm_dls(bs=1, backwards=bundle.direction=='bwd')
    learn = lm_learner(dls, bundle, cbs=AutoPrecision('fp32'))
    with learn.no_bar(), learn.no_logging(): return float(learn.validate()[-1])


@pytest.mark.parametrize('direction', ['fwd', 'bwd'])
def test_reads_english(pair, direction):
    b = pair[direction]
    words = ENGLISH.split()
    jumbled = ' '.join(words[i] for i in torch.randperm(len(words), generator=torch.Generator().manual_seed(0)))
    english = perplexity(b, ENGLISH)
    assert english<120
    assert english<perplexity(b, jumbled)/3 and english<perplexity(b, ' '.join(words[::-1]))/3


@pytest.mark.parametrize('direction', ['fwd', 'bwd'])
def test_fine_tuning_starts_from_it(pair, direction):
    b = pair[direction]
    dls = TextCorpus.from_df(notes(60), min_freq=1).lm_dls(bs=4, backwards=direction=='bwd')
    learn = finetune_lm(dls, epochs=1, lr=0., cbs=AutoPrecision('fp32'))
    old, new, vocab = b.state['0.encoder.weight'], learn.model[0].encoder.weight.detach(), dls.vocab
    for w in ('captain', 'found', 'the'): torch.testing.assert_close(new[vocab.index(w)], old[b.vocab.index(w)], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(learn.model[0].rnns[1].weight_hh_l0_raw.detach(), b.state['0.rnns.1.weight_hh_l0_raw'], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match='start from scratch'): finetune_lm(dls, config=TINY)


def test_is_installed(tmp_path):
    res = subprocess.run([sys.executable, 'setup.py', '-q', 'build', '--build-base', tmp_path/'b', 'egg_info', '--egg-base', tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert res.returncode==0, res.stderr[-2000:]
    have = {p.relative_to(ROOT/'ulmfit_ext').as_posix() for p in (ROOT/'ulmfit_ext'/'pretrained').rglob('*') if p.is_file()}
    got = {p.relative_to(tmp_path/'b'/'lib'/'ulmfit_ext').as_posix() for p in (tmp_path/'b'/'lib'/'ulmfit_ext'/'pretrained').rglob('*') if p.is_file()}
    assert have==got and {f'pretrained/mini/{k}/{f}' for k in ('fwd', 'bwd') for f in ('model.safetensors', 'config.json', 'vocab.json')}<=got
