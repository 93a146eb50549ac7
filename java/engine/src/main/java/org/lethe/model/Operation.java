package org.lethe.model;

/**
 * What an operation has to do at least, whatever computes it: how long it takes at best follows
 * from a machine's two ceilings (the roofline: Williams, Waterman & Patterson 2009).
 *
 * @param name where it stands and what it is: {@code forward qkv}
 * @param flops floating-point operations of its products, a multiplication and an addition being
 *     two; 0 where it has none
 * @param bytes that it reads and writes, every tensor once
 * @param again whether it repeats one of the forward pass, and so is no work of the model
 */
public record Operation(String name, double flops, double bytes, boolean again) {
  /** So many of it. */
  public Operation times(double n) {
    return new Operation(name, n * flops, n * bytes, again);
  }

  /**
   * Seconds that it takes at best.
   *
   * @param flopsPerSecond of matrix products
   * @param bytesPerSecond of memory
   */
  public double seconds(double flopsPerSecond, double bytesPerSecond) {
    return Math.max(flops / flopsPerSecond, bytes / bytesPerSecond);
  }
}
