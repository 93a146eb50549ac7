package org.lethe.train;

import org.lethe.kernels.DType;
import org.lethe.model.Llama;

/**
 * How to train. Defaults are the paper's (Eldan & Russinovich 2023) where it says.
 *
 * @param epochs passes over the blocks
 * @param learningRate of the first step; falls linearly to 0 after the last
 * @param warmup steps over which it first rises linearly
 * @param batch blocks in one pass
 * @param accumulate passes whose gradients one optimizer step adds up
 * @param beta1 AdamW's decay of the first moment
 * @param beta2 AdamW's decay of the second
 * @param eps AdamW's epsilon
 * @param weightDecay AdamW's, decoupled
 * @param clip largest global gradient norm; 0 does not clip
 * @param holdout share of the blocks kept out of training, to choose the best checkpoint by; 0
 *     keeps the last
 * @param shuffle whether every epoch has its own order
 * @param seed of the order, of the held-out choice, of stochastic rounding
 * @param checkpointEvery steps between checkpoints
 * @param dtype of activations and of the weights that products read; weights are exact fp32 in both
 * @param gradientType F32, or BF16 where {@code dtype} is
 * @param momentType F32, or BF16 with stochastic rounding
 * @param memory what of a pass is in memory at a time
 */
public record TrainingOptions(
    int epochs,
    double learningRate,
    int warmup,
    int batch,
    int accumulate,
    double beta1,
    double beta2,
    double eps,
    double weightDecay,
    double clip,
    double holdout,
    boolean shuffle,
    long seed,
    int checkpointEvery,
    DType dtype,
    DType gradientType,
    DType momentType,
    Llama.Memory memory) {

  /** Refuses what cannot be trained with, by the option's name. */
  public TrainingOptions {
    check(epochs >= 1, "epochs", epochs, "at least 1");
    check(learningRate > 0 && learningRate < 1, "learning rate", learningRate, "in (0, 1)");
    check(warmup >= 0, "warmup", warmup, "at least 0");
    check(batch >= 1 && batch <= 4096, "batch", batch, "1 to 4096");
    check(accumulate >= 1 && accumulate <= 65536, "accumulate", accumulate, "1 to 65536");
    check(beta1 >= 0 && beta1 < 1, "beta1", beta1, "in [0, 1)");
    check(beta2 >= 0 && beta2 < 1, "beta2", beta2, "in [0, 1)");
    check(eps > 0 && eps < 1, "eps", eps, "in (0, 1)");
    check(weightDecay >= 0 && weightDecay < 1, "weight decay", weightDecay, "in [0, 1)");
    check(clip >= 0 && Double.isFinite(clip), "clip", clip, "a number from 0 on");
    check(holdout >= 0 && holdout < 1, "holdout", holdout, "in [0, 1)");
    check(checkpointEvery >= 1, "checkpoint interval", checkpointEvery, "at least 1");
    check(dtype.isReal(), "dtype", dtype, "F32 or BF16");
    check(gradientType.isReal(), "gradient dtype", gradientType, "F32 or BF16");
    check(
        gradientType == DType.F32 || dtype == DType.BF16,
        "gradient dtype",
        gradientType,
        "F32 where the dtype is");
    check(momentType.isReal(), "moment dtype", momentType, "F32 or BF16");
  }

  private static void check(boolean good, String option, Object value, String wanted) {
    if (!good) {
      throw new IllegalArgumentException(option + " is " + value + ", must be " + wanted);
    }
  }

  /** The paper's reinforcement: 3 epochs at 3e-6, batch 8 x 16, everything trained on. */
  public static TrainingOptions reinforce() {
    return new TrainingOptions(
        3,
        3e-6,
        0,
        8,
        16,
        0.9,
        0.98,
        1e-8,
        0,
        0,
        0,
        true,
        1,
        100,
        DType.BF16,
        DType.F32,
        DType.F32,
        Llama.Memory.DEFAULT);
  }

  /** The paper's fine-tuning: 2 epochs at 1e-6, batch 8 x 16, 5% held out. */
  public static TrainingOptions finetune() {
    return new TrainingOptions(
        2,
        1e-6,
        0,
        8,
        16,
        0.9,
        0.98,
        1e-8,
        0,
        0,
        0.05,
        true,
        1,
        100,
        DType.BF16,
        DType.F32,
        DType.F32,
        Llama.Memory.DEFAULT);
  }

  /** Learning rate of step {@code step} (from 0) of {@code steps}. */
  double learningRate(int step, int steps) {
    double rising = warmup > 0 ? Math.min(1, (step + 1.0) / warmup) : 1;
    return learningRate * rising * (1 - (double) step / steps);
  }
}
