package org.lethe.train;

import org.lethe.model.Llama;

/** Hears how training goes, on the training thread. */
public interface TrainingListener {
  /** Says nothing. */
  TrainingListener NONE = new TrainingListener() {};

  /**
   * What a line of {@code metrics.jsonl} says.
   *
   * @param phase what is trained: "reinforce", "finetune"
   * @param step from 1
   * @param loss mean over the step's labelled tokens, in nats
   * @param gradientNorm global, before clipping
   * @param learningRate of this step
   * @param tokensPerSecond input tokens by wall clock over the whole step
   */
  record Step(
      String phase,
      int step,
      double loss,
      double gradientNorm,
      double learningRate,
      double tokensPerSecond) {}

  /**
   * Training begins or goes on.
   *
   * @param done steps taken before
   * @param steps in all
   * @param llama the model as it is now, for looking at only
   */
  default void started(String phase, int done, int steps, Llama llama) {}

  /** A step was taken; {@code llama} is the model after it, for looking at only. */
  default void stepped(Step step, int steps, Llama llama) {}

  /** The held-out loss was measured after step {@code step}. */
  default void evaluated(int step, double heldOutLoss, boolean best) {}

  /** A checkpoint was written after step {@code step}. */
  default void checkpointed(int step) {}
}
