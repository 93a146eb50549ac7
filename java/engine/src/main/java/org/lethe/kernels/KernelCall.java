package org.lethe.kernels;

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
}
