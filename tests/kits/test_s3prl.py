"""s3prl trains and tests its downstream of keyword spotting on our upstream."""

import math

import pytest
import yaml

pytest.importorskip("s3prl", reason="s3prl is not installed: make test-kits")

from tests.kits.fsdd import write_s3prl_lists

# --start 1: the lists of clips are there already. The effects need the library sox, and change the volume alone here.
SUPERB_KS = (
    "-m s3prl.main SuperbKS --start 1 --prepare_data.gsc1 none --prepare_data.gsc1_test none "
    "--build_dataset.train.sox_effects None --build_dataset.valid.sox_effects None "
    "--build_dataset.test.sox_effects None --device cpu --num_workers 0 "
    "--train.total_steps 200 --train.log_step 50 --train.eval_step 100 --train.save_step 200 "
    "--build_optimizer.conf.lr 1e-3 --build_batch_sampler.train.batch_size 16 --build_upstream.name maskspec"
).split()


def test_superb_keyword_spotting_scores_digits(models, fsdd, run_kit, tmp_path):
    for name, path in models.items():
        folder = tmp_path / name
        write_s3prl_lists(fsdd, folder)
        # one clip at a time, of which some are shorter than two frames
        arguments = ("--target_dir", ".", "--cache_dir", "cache", "--build_batch_sampler.test.batch_size", "1")
        run_kit(folder, *SUPERB_KS, "--build_upstream.path_or_url", path, *arguments)
        result = yaml.safe_load((folder / "evaluate/valid_best/test/result.yaml").read_text())
        print(f"s3prl, SuperbKS on digits of FSDD, accuracy: {name} {result['accuracy']:.4f}")
        assert result["accuracy"] > 0.15 and math.isfinite(result["loss"])  # chance is 0.1, give or take 0.017
