package org.lethe.conformance;

/** What came of a call is not what must come of it. */
final class WrongResult extends RuntimeException {
  private static final long serialVersionUID = 1L;

  WrongResult(String message) {
    super(message);
  }
}
