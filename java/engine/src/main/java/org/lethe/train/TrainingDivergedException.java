package org.lethe.train;

/** A loss or gradient was no longer a finite number. The last checkpoint stays as it was. */
public final class TrainingDivergedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int step;
  private final String tensor;

  TrainingDivergedException(int step, String tensor, String message) {
    super(message);
    this.step = step;
    this.tensor = tensor;
  }

  /** The step it happened in, from 1. */
  public int step() {
    return step;
  }

  /** The first tensor found to hold it: "loss", or the parameter whose gradient it is. */
  public String tensor() {
    return tensor;
  }
}
