import sys, time, logging, traceback
logging.getLogger("skeldir_jwt_mw").disabled=True
from scenarios import *
from virtual import Violation
from collections import Counter
a,b=int(sys.argv[1]),int(sys.argv[2]); kinds=tuple(sys.argv[3:]) or None
t=time.time(); bad=Counter(); v=Counter(); n=0
for seed in range(a,b):
    t0=time.time()
    try:
        r=by_chance(seed,kinds=kinds); v+=r.world.court.verdicts; n+=sum(r.world.court.verdicts.values())
    except Violation as e:
        import re
        bad[re.sub(r"\d+(\.\d+)?","N",str(e).split(": ",1)[1])[:90]]+=1
        if bad.total()<14: print(str(e)[:300])
    except Exception as e:
        traceback.print_exc(); print("seed",seed); bad["EXC"]+=1
        if bad["EXC"]>2: break
    if time.time()-t0>3: print("slow",seed,time.time()-t0)
print(time.time()-t, n, v.most_common(12)); 
for x in bad.most_common(): print(x)
