"""Put a pretrained pair into the package, in fp16, in place of the one that is there: `python scripts/pack_mini.py FOLDER`, with the run folders `fwd` and `bwd` of `ulmfit pretrain`"""
import shutil
import sys
from pathlib import Path
from ulmfit_ext.models.bundle import load_bundle, save_bundle

folder, out = Path(sys.argv[1]), Path(__file__).parents[1]/'ulmfit_ext'/'pretrained'/'mini'
pair = {k:load_bundle(folder/k/'model', 'lm', k) for k in ('fwd', 'bwd')}
if pair['fwd'].vocab!=pair['bwd'].vocab: sys.exit('the two have other vocabularies: pretrain both on the same text')
for k, b in pair.items():
    shutil.rmtree(out/k, ignore_errors=True)
    save_bundle(b, out/k, half=True)
mb = sum(f.stat().st_size for f in out.rglob('*') if f.is_file())/1e6
print(f'{out}: {mb:.1f} MB')
if mb>45: sys.exit('that is more than the 45 MB that the wheel has room for')
