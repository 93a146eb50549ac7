package org.lethe.kernels;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Enabled;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Threshold;

/** A native call, for Flight Recorder. Off unless asked for: a step makes hundreds. */
@Name("org.lethe.KernelCall")
@Label("Kernel Call")
@Category("Lethe")
@Description("A call of lethe.h; on a device that computes asynchronously, until it is asked for")
@Enabled(false)
@StackTrace(false)
@Threshold("0 ns")
final class KernelCall extends Event {
  @Label("Operation")
  String operation = "";

  @Label("Numbers")
  @Description("The integers among the arguments, in the order of lethe.h: strides, dtypes, sizes")
  String numbers = "";

  @Label("Status")
  int status;

  /**
   * {@code call}, recorded while somebody wants the event. Else one look at a flag is all there is:
   * nothing is allocated.
   *
   * @param parameters a letter each: p pointer, l and i integer, f float
   */
  static MethodHandle recorded(MethodHandle call, String operation, String parameters) {
    try {
      var lookup = MethodHandles.lookup();
      MethodHandle wanted =
          lookup
              .findVirtual(KernelCall.class, "isEnabled", MethodType.methodType(boolean.class))
              .bindTo(new KernelCall());
      int count = call.type().parameterCount();
      MethodHandle recording =
          lookup
              .findVirtual(Recording.class, "run", MethodType.methodType(int.class, Object[].class))
              .bindTo(new Recording(call.asSpreader(Object[].class, count), operation, parameters))
              .asCollector(Object[].class, count)
              .asType(call.type());
      return MethodHandles.guardWithTest(wanted, recording, call);
    } catch (ReflectiveOperationException e) {
      throw new LinkageError(operation, e);
    }
  }

  /** A call with the event around it; boxed, which only costs while it is recorded. */
  record Recording(MethodHandle call, String operation, String parameters) {
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
  }
}
