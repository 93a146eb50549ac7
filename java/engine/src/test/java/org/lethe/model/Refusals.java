package org.lethe.model;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import org.junit.jupiter.api.function.Executable;

/** Calls that must fail, and say why. */
public final class Refusals {
  private Refusals() {}

  /** The call throws IllegalArgumentException, and its message, returned, contains {@code part}. */
  public static String refused(String part, Executable call) {
    return said(part, assertThrows(IllegalArgumentException.class, call));
  }

  /** The call throws IOException, and its message, returned, contains {@code part}. */
  public static String refusedIo(String part, Executable call) {
    return said(part, assertThrows(IOException.class, call));
  }

  /** The message, which contains {@code part}. */
  public static String said(String part, Exception e) {
    String message = String.valueOf(e.getMessage());
    assertTrue(message.contains(part), message);
    return message;
  }
}
