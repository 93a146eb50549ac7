package org.lethe.kernels;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import jdk.jfr.FlightRecorder;

/**
 * A native call with {@link KernelCall} around it; boxed, which only costs while it is recorded.
 */
record RecordedCall(MethodHandle call, String operation, String parameters) {
  /**
   * {@code call}, recorded while somebody wants the event. Else one look at a flag is all there is:
   * nothing is allocated, and Flight Recorder, which takes 30 ms, is not even loaded.
   *
   * @param parameters a letter each: p pointer, l and i integer, f float
   */
  static MethodHandle of(MethodHandle call, String operation, String parameters) {
    try {
      var lookup = MethodHandles.lookup();
      MethodHandle wanted =
          lookup.findStatic(RecordedCall.class, "isWanted", MethodType.methodType(boolean.class));
      int count = call.type().parameterCount();
      MethodHandle recording =
          lookup
              .findVirtual(
                  RecordedCall.class, "run", MethodType.methodType(int.class, Object[].class))
              .bindTo(
                  new RecordedCall(call.asSpreader(Object[].class, count), operation, parameters))
              .asCollector(Object[].class, count)
              .asType(call.type());
      return MethodHandles.guardWithTest(wanted, recording, call);
    } catch (ReflectiveOperationException e) {
      throw new LinkageError(operation, e);
    }
  }

  static boolean isWanted() {
    return FlightRecorder.isInitialized() && Sample.EVENT.isEnabled();
  }

  int run(Object[] arguments) throws Throwable {
    var event = new KernelCall();
    event.begin();
    int status = (int) call.invoke(arguments);
    event.end();
    if (event.shouldCommit()) {
      event.operation = operation;
      event.status = status;
      event.numbers =
          IntStream.range(0, arguments.length)
              .filter(i -> "li".indexOf(parameters.charAt(i)) >= 0)
              .mapToObj(i -> arguments[i].toString())
              .collect(Collectors.joining(" "));
      event.commit();
    }
    return status;
  }

  /** An event to ask; made when first asked. */
  private static final class Sample {
    static final KernelCall EVENT = new KernelCall();
  }
}
