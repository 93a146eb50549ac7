package org.lethe.conformance;

/**
 * How far results are from their reference, beside what is allowed.
 *
 * @param error infinite where a number is not what it must be exactly
 */
public record Deviation(double error, double tolerance) {
  static final Deviation NONE = new Deviation(0, 0);

  /** The error as a share of its tolerance: 1 is all of it. */
  double share() {
    return error == 0 ? 0 : error / tolerance;
  }

  /** The one that is nearer to its tolerance, or past it. */
  Deviation worse(Deviation other) {
    int order = Double.compare(share(), other.share());
    return order > 0 || (order == 0 && tolerance >= other.tolerance) ? this : other;
  }
}
