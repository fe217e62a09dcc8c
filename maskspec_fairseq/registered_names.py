"""The names under which fairseq knows our classes: `_name` in configs, recipes and checkpoints. They never change."""

PRETRAINING_MODEL = "maskspec"
FINETUNING_MODEL = "maskspec_classifier"
PRETRAINING_TASK = "maskspec_pretraining"
FINETUNING_TASK = "maskspec_finetuning"
PREDICTION_CRITERION = "maskspec_prediction"
CLASSIFICATION_CRITERION = "maskspec_classification"
OPTIMIZER = "maskspec_adamw"
LR_SCHEDULER = "maskspec_cosine"

MODELS = (PRETRAINING_MODEL, FINETUNING_MODEL)
