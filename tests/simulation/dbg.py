import world as W
oe=W.Worker.exit
def ex(self):
    print("EXIT begin",self.world.now,self.process.pid, self.process.frozen)
    try: oe(self)
    except BaseException as e: print("EXIT raised",repr(e)); raise
    finally: print("EXIT end",self.world.now,self.process.pid)
W.Worker.exit=ex
import sys; sys.argv=["x","102","0"]
exec(open("trace.py").read())
