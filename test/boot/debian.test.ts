import { SESSION } from "./checks.ts";
import { testSession } from "./suite.ts";

testSession(1, SESSION);
