import sys, time, logging
logging.getLogger("skeldir_jwt_mw").disabled=True
from world import *
from skeldir_jwt_mw import RefreshPolicy
HASTY = RefreshPolicy(refresh_interval=9.0,check_interval=3.0,floor=4.0,jitter=0.5,backoff_base=0.5,backoff_max=4.0,lease=2.5,fetch_timeout=1.5)
def calm(seed):
    w = World(seed, HASTY)
    with playing(w):
        for i in range(20):
            wk = Worker(w)
            w.every(lambda: w.random.uniform(0.05,0.4), lambda wk=wk: wk.ask(w.token()))
        w.run(12.0)
        w.provider.rotate()
        w.run(30)
        w.provider.rotate()
        w.run(60)
    return w
t=time.time()
for seed in range(3):
    w=calm(seed)
    print(seed, time.time()-t, w.court.verdicts, w.court.worst, w.provider.answers, w.database.statements, w.row.fetch_attempt_count)
