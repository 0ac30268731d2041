import { PARALLEL_SESSION } from "./checks.ts";
import { testSession } from "./suite.ts";

testSession(4, PARALLEL_SESSION);
