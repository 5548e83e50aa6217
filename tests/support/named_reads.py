"""The functions in which the host may wait for a GPU, and why each must: the only list of them."""

NAMED_READS = {
    "data.batches.device_cohort.DeviceCohort._copied": "the training cases go to the device, once",
    "data.batches.device_batches.DeviceBatch.hashed": "the bytes of every hundredth batch, for the pairing hash",
    "training.training_step._read": "losses, norms and health of many steps, read at once",
    "training.loop.weights_hash": "the digest of the initial weights, once",
    "training.training_run.start_run": "the network goes to the device, once",
    "training.training_step._update_weights": "with fp16, whether a gradient is infinite",
    "training.state.weights_of": "weights of a checkpoint, or the best ones",
    "training.state.pack": "moments for a checkpoint",
    "training.state.set_weights": "weights of a checkpoint, or the best ones",
    "training.state._like": "moments of a checkpoint",
    "training.validation.validation_score": "the loss of a validation case",
    "inference.predict_probabilities": "the maps of a case, once",
    "inference.run_network.check_finite": "whether the maps are finite, once a case",
    "inference.run_network._apply": "MONAI's weights of a window, once a case",
}
