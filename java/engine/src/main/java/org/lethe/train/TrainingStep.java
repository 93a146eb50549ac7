package org.lethe.train;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A step of training, for Flight Recorder. */
@Name("org.lethe.TrainingStep")
@Label("Training Step")
@Category("Lethe")
@Description("Forward, backward and AdamW over the blocks of a step")
@StackTrace(false)
final class TrainingStep extends Event {
  @Label("Phase")
  String phase = "";

  @Label("Step")
  int step;

  @Label("Tokens")
  long tokens;

  @Label("Loss")
  @Description("Mean over the labelled tokens, in nats")
  double loss;

  @Label("Gradient Norm")
  double gradientNorm;

  @Label("Learning Rate")
  double learningRate;

  /** Ends it, with what came of it. */
  void commit(TrainingListener.Step done, long tokens) {
    end();
    if (shouldCommit()) {
      phase = done.phase();
      step = done.step();
      this.tokens = tokens;
      loss = done.loss();
      gradientNorm = done.gradientNorm();
      learningRate = done.learningRate();
      commit();
    }
  }
}
