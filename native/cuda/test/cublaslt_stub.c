/* A library that says it is cuBLASLt STUB_VERSION; nothing of it is called but that. */
#include <stddef.h>

size_t cublasLtGetVersion(void) { return STUB_VERSION; }

#define STUB(name) \
  int cublasLt##name(void) { return 1; }
STUB(Create)
STUB(Destroy)
STUB(GetStatusName)
STUB(MatmulDescCreate)
STUB(MatmulDescDestroy)
STUB(MatmulDescSetAttribute)
STUB(MatrixLayoutCreate)
STUB(MatrixLayoutDestroy)
STUB(MatmulPreferenceCreate)
STUB(MatmulPreferenceDestroy)
STUB(MatmulPreferenceSetAttribute)
STUB(MatmulAlgoGetHeuristic)
#ifndef STUB_WITHOUT_MATMUL
STUB(Matmul)
#endif
